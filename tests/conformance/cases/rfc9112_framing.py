"""RFC 9112: where messages end. Bad framing from the origin is a 502 and never stored; from a client it is refused."""

# ruff: noqa: E501  (one case a line, as a table)
# fmt: off

from __future__ import annotations

from tests.conformance.claims import (
    answered,
    asked,
    asked_for,
    asked_matching,
    asked_sending,
    asked_with,
    asked_without,
    body,
    broken_off,
    closed,
    either,
    every,
    fetched,
    has,
    lacks,
    problem,
    refused,
    reused,
    status,
    trailers,
    version,
)
from tests.conformance.model import Case, Claim, Framing, case
from tests.conformance.script import LONG, fresh, get, head, lines, post, raw, reply, send

_OK = ("HTTP/1.1 200 OK", LONG, "Date: <now>")


def _bad(name: str, section: str, claim: str, text: str) -> Case:
    """What the origin sends is no response: the client learns of it, and the next request gets a good one."""
    return case(name, section, claim, origin=[raw(text), fresh()], client=[get(broken_off()), get(answered(2), again=True)])


ORIGIN_BAD = [
    _bad("origin-lengths-differ", "RFC 9112, 6.3", "two different Content-Length lines", lines(*_OK, "Content-Length: 5", "Content-Length: 6") + "hello!"),
    _bad("origin-length-list-differs", "RFC 9112, 6.3", "a list of different lengths", lines(*_OK, "Content-Length: 5, 6") + "hello!"),
    _bad("origin-length-word", "RFC 9112, 6.3", "a length that is a word", lines(*_OK, "Content-Length: five") + "hello"),
    _bad("origin-length-negative", "RFC 9112, 6.3", "a negative length", lines(*_OK, "Content-Length: -5") + "hello"),
    _bad("origin-length-plus", "RFC 9112, 6.3", "a length with a sign", lines(*_OK, "Content-Length: +5") + "hello"),
    _bad("origin-length-hex", "RFC 9112, 6.3", "a hexadecimal length", lines(*_OK, "Content-Length: 0x5") + "hello"),
    _bad("origin-length-empty", "RFC 9112, 6.3", "an empty length", lines(*_OK, "Content-Length:") + "hello"),
    _bad("origin-length-space", "RFC 9112, 6.3", "a length with a space in it", lines(*_OK, "Content-Length: 5 5") + "hello"),
    _bad("origin-length-huge", "RFC 9112, 6.3", "a length beyond all integers", lines(*_OK, f"Content-Length: {'9' * 30}") + "hello"),
    _bad("origin-length-underscore", "RFC 9112, 6.3", "a length with an underscore", lines(*_OK, "Content-Length: 1_0") + "helloworld"),
    _bad("origin-body-short", "RFC 9112, 8", "a body shorter than its length", lines(*_OK, "Content-Length: 50") + "hello"),
    _bad("origin-chunk-size-word", "RFC 9112, 7.1", "a chunk size that is no number", lines(*_OK, "Transfer-Encoding: chunked") + "five\r\nhello\r\n0\r\n\r\n"),
    _bad("origin-chunk-size-negative", "RFC 9112, 7.1", "a negative chunk size", lines(*_OK, "Transfer-Encoding: chunked") + "-5\r\nhello\r\n0\r\n\r\n"),
    _bad("origin-chunk-size-0x", "RFC 9112, 7.1", "a chunk size with a prefix", lines(*_OK, "Transfer-Encoding: chunked") + "0x5\r\nhello\r\n0\r\n\r\n"),
    _bad("origin-chunk-size-huge", "RFC 9112, 7.1.1", "a chunk size beyond all integers", lines(*_OK, "Transfer-Encoding: chunked") + "f" * 40 + "\r\nhello\r\n0\r\n\r\n"),
    _bad("origin-chunk-size-empty", "RFC 9112, 7.1", "an empty chunk size", lines(*_OK, "Transfer-Encoding: chunked") + "\r\nhello\r\n0\r\n\r\n"),
    _bad("origin-chunk-too-long", "RFC 9112, 7.1", "a chunk longer than its size", lines(*_OK, "Transfer-Encoding: chunked") + "3\r\nhello\r\n0\r\n\r\n"),
    _bad("origin-chunk-too-short", "RFC 9112, 7.1", "a chunk shorter than its size", lines(*_OK, "Transfer-Encoding: chunked") + "9\r\nhello\r\n0\r\n\r\n"),
    _bad("origin-chunk-no-last", "RFC 9112, 8", "chunks without a last one", lines(*_OK, "Transfer-Encoding: chunked") + "5\r\nhello\r\n"),
    _bad("origin-chunk-cut", "RFC 9112, 8", "a chunk that is cut off", lines(*_OK, "Transfer-Encoding: chunked") + "5\r\nhel"),
    _bad("origin-chunk-no-end", "RFC 9112, 7.1", "a last chunk without the empty line after it", lines(*_OK, "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n"),
    _bad("origin-coding-unknown", "RFC 9112, 6.1", "a transfer coding nobody knows", lines(*_OK, "Transfer-Encoding: x-odd") + "hello"),
    _bad("origin-coding-chunked-not-last", "RFC 9112, 6.3", "chunked before another coding", lines(*_OK, "Transfer-Encoding: chunked, gzip") + "5\r\nhello\r\n0\r\n\r\n"),
    _bad("origin-coding-twice", "RFC 9112, 6.1", "chunked twice", lines(*_OK, "Transfer-Encoding: chunked, chunked") + "5\r\nhello\r\n0\r\n\r\n"),
    _bad("origin-half-head", "RFC 9112, 8", "a head that is cut off", "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nX-Te"),
    _bad("origin-not-http", "RFC 9112, 4", "another protocol's greeting", "220 mail.example ESMTP\r\n\r\n"),
    _bad("origin-status-short", "RFC 9112, 4", "a status of two digits", lines("HTTP/1.1 20 OK", LONG, "Content-Length: 5") + "hello"),
    _bad("origin-status-long", "RFC 9112, 4", "a status of four digits", lines("HTTP/1.1 2000 OK", LONG, "Content-Length: 5") + "hello"),
    _bad("origin-status-word", "RFC 9112, 4", "a status that is a word", lines("HTTP/1.1 OK 200", LONG, "Content-Length: 5") + "hello"),
    _bad("origin-status-zero", "RFC 9110, 15", "a status below 100", lines("HTTP/1.1 042 Odd", LONG, "Content-Length: 5") + "hello"),
    _bad("origin-version-2", "RFC 9112, 2.3", "a version nobody asked for", lines("HTTP/2.0 200 OK", LONG, "Content-Length: 5") + "hello"),
    _bad("origin-version-odd", "RFC 9112, 2.3", "a version that is none", lines("HTTP/1.x 200 OK", LONG, "Content-Length: 5") + "hello"),
    _bad("origin-field-no-colon", "RFC 9112, 5", "a field line without a colon", lines(*_OK, "Oddly", "Content-Length: 5") + "hello"),
    _bad("origin-field-no-name", "RFC 9112, 5", "a field line without a name", lines(*_OK, ": odd", "Content-Length: 5") + "hello"),
    _bad("origin-field-bad-name", "RFC 9112, 5", "a field name with a space in it", lines(*_OK, "Odd name: 1", "Content-Length: 5") + "hello"),
    _bad("origin-head-huge", "RFC 9110, 5.4", "a head of a megabyte", lines(*_OK, *(f"X-{n}: {'x' * 8000}" for n in range(130)), "Content-Length: 5") + "hello"),
    _bad("origin-nul", "RFC 9110, 5.5", "a NUL in a field value", lines(*_OK, "X-Odd: a\0b", "Content-Length: 5") + "hello"),
    _bad("origin-bare-cr", "RFC 9112, 2.2", "a bare CR in a field value", lines(*_OK, "X-Odd: a\rb", "Content-Length: 5") + "hello"),
]

_OR_502 = status(502)


def _mended(name: str, section: str, claim: str, text: str, *right: Claim) -> Case:
    """What the origin sends is odd: an error, or the one right reading of it."""
    return case(name, section, claim, origin=[raw(text)], client=[get(either("a 502, or the right reading", _OR_502, every("right", *right)))])


_HELLO = (status(200), body(b"hello"))

ORIGIN_ODD = [
    _mended("origin-length-and-chunked", "RFC 9112, 6.3", "Transfer-Encoding overrides Content-Length, and the length is not passed on", lines(*_OK, "Content-Length: 3", "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n", *_HELLO),
    _mended("origin-length-repeated", "RFC 9112, 6.3", "the same length several times may be read as one", lines(*_OK, "Content-Length: 5", "Content-Length: 5") + "hello", *_HELLO),
    _mended("origin-length-list", "RFC 9112, 6.3", "the same length in a list may be read as one", lines(*_OK, "Content-Length: 5, 5") + "hello", *_HELLO),
    _mended("origin-fold", "RFC 9112, 5.2", "a folded field line is refused, or its fold becomes spaces", lines(*_OK, "X-Odd: a", " b", "Content-Length: 5") + "hello", *_HELLO),
    _mended("origin-space-before-colon", "RFC 9112, 5.1", "white space before a colon is refused or removed", lines(*_OK, "X-Odd : a", "Content-Length: 5") + "hello", *_HELLO),
    _mended("origin-bare-lf", "RFC 9112, 2.2", "lines that end in LF are refused or understood", "HTTP/1.1 200 OK\nCache-Control: max-age=3600\nDate: <now>\nContent-Length: 5\n\nhello", *_HELLO),
    _mended("origin-extra-bytes", "RFC 9112, 6.3", "bytes behind the body are no part of it", lines(*_OK, "Content-Length: 5") + "hello, and more", *_HELLO),
    _mended("origin-extra-response", "RFC 9112, 9.2", "a second response that nobody asked for goes nowhere", lines(*_OK, "Content-Length: 5") + "hello" + lines(*_OK, "Content-Length: 4") + "evil", *_HELLO),
    _mended("origin-chunk-extension", "RFC 9112, 7.1.1", "chunk extensions are ignored", lines(*_OK, "Transfer-Encoding: chunked") + '5;a=b;c="d;e"\r\nhello\r\n0;x\r\n\r\n', *_HELLO),
    _mended("origin-chunk-zeros", "RFC 9112, 7.1", "leading zeros of a chunk size mean nothing", lines(*_OK, "Transfer-Encoding: chunked") + "0005\r\nhello\r\n000\r\n\r\n", *_HELLO),
    _mended("origin-chunk-upper", "RFC 9112, 7.1", "hexadecimal digits may be upper case", lines(*_OK, "Transfer-Encoding: chunked") + "A\r\nhellohello\r\n0\r\n\r\n", status(200), body(b"hellohello")),
    _mended("origin-coding-case", "RFC 9112, 7", "names of codings are compared case-insensitively", lines(*_OK, "Transfer-Encoding: CHUNKED") + "5\r\nhello\r\n0\r\n\r\n", *_HELLO),
    _mended("origin-empty-line-first", "RFC 9112, 2.2", "an empty line before the status line", "\r\n" + lines(*_OK, "Content-Length: 5") + "hello", *_HELLO),
    _mended("origin-no-reason", "RFC 9112, 4", "a status line without the space before its empty reason", lines("HTTP/1.1 200", LONG, "Date: <now>", "Content-Length: 5") + "hello", *_HELLO),
    _mended("origin-1.0-chunked", "RFC 9112, 6.1", "Transfer-Encoding from HTTP/1.0 is faulty framing: refused, or read as chunks", lines("HTTP/1.0 200 OK", LONG, "Date: <now>", "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n", *_HELLO),
]

ORIGIN_GOOD = [
    case(
        "origin-nothing", "RFC 9110, 15.6.3", "no response at all, however often it is asked, is a 502",
        origin=[raw("")], client=[get(problem(502))],
    ),
    case(
        "origin-nothing-once", "RFC 9110, 9.2.2", "a GET whose connection broke before the response may be sent again, else it is a 502",
        origin=[raw(""), fresh()], client=[get(either("a second try or a 502", answered(2), problem(502))), get(answered(2), again=True)],
    ),
    case(
        "origin-1.0", "RFC 9112, 2.3", "a response in HTTP/1.0 is sent on in HTTP/1.1",
        origin=[reply(version="HTTP/1.0", framing=Framing.CLOSE)], client=[get(fetched(1))],
    ),
    case(
        "origin-1.0-length", "RFC 9112, 2.3", "an HTTP/1.0 origin may tell a length",
        origin=[raw(lines("HTTP/1.0 200 OK", LONG, "Date: <now>", "Content-Length: 5") + "hello")], client=[get(status(200), body(b"hello"))],
    ),
    case(
        "origin-1.2", "RFC 9112, 2.3", "a higher minor version is read like 1.1",
        origin=[raw(lines("HTTP/1.2 200 OK", LONG, "Date: <now>", "Content-Length: 5") + "hello")],
        client=[get(either("read or refused", every("read", *_HELLO), _OR_502))],
    ),
    case(
        "origin-close-kept-alive", "RFC 9112, 9.3", "a body that ends with the origin's connection reaches a client whose own goes on",
        origin=[reply(framing=Framing.CLOSE), reply()], client=[get(fetched(1)), get(fetched(2), at="/next")],
    ),
    case(
        "origin-chunked-1.0-client", "RFC 9112, 7.1", "an HTTP/1.0 client gets no chunks",
        origin=[reply(framing=Framing.CHUNKED)], client=[get(fetched(1), lacks("Transfer-Encoding"), version="HTTP/1.0")],
    ),
    case(
        "origin-chunked-1.0-client-hit", "RFC 9112, 7.1", "nor does it from the cache",
        origin=[fresh(framing=Framing.CHUNKED)], client=[get(fetched(1)), get(reused(1), lacks("Transfer-Encoding"), version="HTTP/1.0")],
    ),
    case(
        "origin-chunked-large", "RFC 9112, 7.1", "many chunks are put together in order",
        origin=[reply("Cache-Control: no-store", framing=Framing.CHUNKED, body=b"".join(b"%06d" % n for n in range(200_000)))], client=[get(fetched(1))],
    ),
    case(
        "origin-chunked-trailers-ignored", "RFC 9112, 7.1.2", "trailers nobody declared do no harm",
        origin=[reply(framing=Framing.CHUNKED, trailers=("X-One: 1", "X-Two: 2"))], client=[get(fetched(1), lacks("X-One"))],
    ),
    case(
        "origin-chunked-trailers-broken", "RFC 9112, 7.1.2", "a broken trailer section is an incomplete response, or is dropped",
        origin=[raw(lines(*_OK, "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\nbroken\r\n\r\n"), fresh()],
        client=[get(either("cut off or whole", broken_off(), every("whole", status(200), body(b"hello"), trailers())))],
    ),
    case(
        "origin-length-zero", "RFC 9112, 6.3", "a length of zero is no body",
        origin=[reply(body=b"")], client=[get(fetched(1), has("Content-Length", "0"))],
    ),
]

_POST = ("POST <path> HTTP/1.1", "Host: <host>")
_GET = ("GET <path> HTTP/1.1", "Host: <host>")
_INNER = "GET <path>/smuggled HTTP/1.1\r\nHost: <host>\r\n\r\n"


def _attack(name: str, section: str, claim: str, text: str, *statuses: int) -> Case:
    """A request that could be read in two ways is refused, and nothing of it reaches the origin."""
    return case(name, section, claim, origin=[reply()], client=[send(text, refused(*(statuses or (400,))))])


CLIENT_LENGTH = [
    _attack("client-length-and-chunked", "RFC 9112, 6.3", "Content-Length with Transfer-Encoding", lines(*_POST, "Content-Length: 6", "Transfer-Encoding: chunked") + "0\r\n\r\n" + _INNER),
    _attack("client-chunked-and-length", "RFC 9112, 6.3", "Transfer-Encoding with Content-Length", lines(*_POST, "Transfer-Encoding: chunked", "Content-Length: 5") + "0\r\n\r\n"),
    _attack("client-lengths-differ", "RFC 9112, 6.3", "two different lengths", lines(*_POST, "Content-Length: 5", "Content-Length: 6") + "hello!"),
    _attack("client-length-list-differs", "RFC 9112, 6.3", "a list of different lengths", lines(*_POST, "Content-Length: 5, 6") + "hello!"),
    _attack("client-length-repeated", "RFC 9112, 6.3", "the same length twice: the edge takes no repetition", lines(*_POST, "Content-Length: 5", "Content-Length: 5") + "hello"),
    _attack("client-length-list", "RFC 9112, 6.3", "the same length in a list", lines(*_POST, "Content-Length: 5, 5") + "hello"),
    _attack("client-length-word", "RFC 9112, 6.3", "a length that is a word", lines(*_POST, "Content-Length: five") + "hello"),
    _attack("client-length-negative", "RFC 9112, 6.3", "a negative length", lines(*_POST, "Content-Length: -5") + "hello"),
    _attack("client-length-plus", "RFC 9112, 6.3", "a length with a sign", lines(*_POST, "Content-Length: +5") + "hello"),
    _attack("client-length-hex", "RFC 9112, 6.3", "a hexadecimal length", lines(*_POST, "Content-Length: 0x5") + "hello"),
    _attack("client-length-empty", "RFC 9112, 6.3", "an empty length", lines(*_POST, "Content-Length:") + "hello"),
    _attack("client-length-decimal", "RFC 9112, 6.3", "a length that is a fraction", lines(*_POST, "Content-Length: 5.0") + "hello"),
    _attack("client-length-inner-space", "RFC 9112, 6.3", "a length with a space in it", lines(*_POST, "Content-Length: 5 5") + "hello"),
    _attack("client-length-underscore", "RFC 9112, 6.3", "a length with an underscore", lines(*_POST, "Content-Length: 1_0") + "hellohello"),
    _attack("client-length-trailing-comma", "RFC 9112, 6.3", "a length with a comma", lines(*_POST, "Content-Length: 5,") + "hello"),
    _attack("client-length-huge", "RFC 9112, 6.3", "a length beyond all integers", lines(*_POST, f"Content-Length: {'9' * 30}") + "hello", 400, 413),
    _attack("client-length-fullwidth", "RFC 9112, 6.3", "digits of another script", lines(*_POST, "Content-Length: \xb2\xb3") + "hello"),
]

CLIENT_CODING = [
    _attack("client-coding-unknown", "RFC 9112, 6.1", "a transfer coding nobody knows", lines(*_POST, "Transfer-Encoding: x-odd") + "hello", 400, 501),
    _attack("client-coding-gzip", "RFC 9112, 6.1", "gzip alone gives no end", lines(*_POST, "Transfer-Encoding: gzip") + "hello", 400, 501),
    _attack("client-coding-not-last", "RFC 9112, 6.3", "chunked before another coding", lines(*_POST, "Transfer-Encoding: chunked, gzip") + "0\r\n\r\n", 400, 501),
    _attack("client-coding-twice", "RFC 9112, 6.1", "chunked twice", lines(*_POST, "Transfer-Encoding: chunked, chunked") + "0\r\n\r\n", 400, 501),
    _attack("client-coding-two-lines", "RFC 9112, 6.1", "chunked on two lines", lines(*_POST, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + "0\r\n\r\n", 400, 501),
    _attack("client-coding-identity", "RFC 9112, 6.1", "identity is no coding any more", lines(*_POST, "Transfer-Encoding: identity") + "hello", 400, 501),
    _attack("client-coding-identity-after", "RFC 9112, 6.1", "nor beside chunked", lines(*_POST, "Transfer-Encoding: chunked", "Transfer-Encoding: identity") + "0\r\n\r\n", 400, 501),
    _attack("client-coding-vertical-tab", "RFC 9112, 6.1", "a vertical tab before the name", lines(*_POST, "Transfer-Encoding: \x0bchunked") + "0\r\n\r\n", 400, 501),
    _attack("client-coding-quoted", "RFC 9112, 6.1", "a quoted name", lines(*_POST, 'Transfer-Encoding: "chunked"') + "0\r\n\r\n", 400, 501),
    _attack("client-coding-prefixed", "RFC 9112, 6.1", "a name that ends in chunked", lines(*_POST, "Transfer-Encoding: xchunked") + "0\r\n\r\n", 400, 501),
    _attack("client-coding-suffixed", "RFC 9112, 6.1", "a name that begins with chunked", lines(*_POST, "Transfer-Encoding: chunkedx") + "0\r\n\r\n", 400, 501),
    _attack("client-coding-parameter", "RFC 9112, 7.1", "chunked has no parameters", lines(*_POST, "Transfer-Encoding: chunked;x=y") + "0\r\n\r\n", 400, 501),
    _attack("client-coding-empty", "RFC 9112, 6.1", "an empty Transfer-Encoding", lines(*_POST, "Transfer-Encoding:", "Content-Length: 5") + "hello", 400, 501),
    _attack("client-coding-1.0", "RFC 9112, 6.1", "HTTP/1.0 has no transfer codings", lines("POST <path> HTTP/1.0", "Host: <host>", "Transfer-Encoding: chunked") + "0\r\n\r\n", 400, 501),
    _attack("client-coding-space-name", "RFC 9112, 5.1", "a space before the colon hides the coding", lines(*_POST, "Transfer-Encoding : chunked", "Content-Length: 5") + "0\r\n\r\n"),
    _attack("client-coding-fold", "RFC 9112, 5.2", "a fold hides the coding", lines(*_POST, "Transfer-Encoding:", " chunked", "Content-Length: 5") + "0\r\n\r\n"),
    _attack("client-coding-underscore", "RFC 9112, 6.3", "an underscore for the hyphen is no Transfer-Encoding: a body without framing", lines(*_POST, "Transfer_Encoding: chunked", "Content-Length: 5x") + "0\r\n\r\n"),
]


def _chunks(name: str, section: str, claim: str, text: str) -> Case:
    """Chunks that break the grammar: refused, or cut off at the origin; never read as a whole request."""
    whole = either("the origin got no complete request", asked(0), asked_sending(b""))
    return case(
        name, section, claim, origin=[reply()],
        client=[send(lines(*_POST, "Transfer-Encoding: chunked") + text, every("refused", status(400, 413), whole, closed()))],
    )


CLIENT_CHUNKS = [
    _chunks("client-chunk-word", "RFC 9112, 7.1", "a chunk size that is no number", "five\r\nhello\r\n0\r\n\r\n"),
    _chunks("client-chunk-negative", "RFC 9112, 7.1", "a negative chunk size", "-5\r\nhello\r\n0\r\n\r\n"),
    _chunks("client-chunk-plus", "RFC 9112, 7.1", "a chunk size with a sign", "+5\r\nhello\r\n0\r\n\r\n"),
    _chunks("client-chunk-0x", "RFC 9112, 7.1", "a chunk size with a prefix", "0x5\r\nhello\r\n0\r\n\r\n"),
    _chunks("client-chunk-empty", "RFC 9112, 7.1", "an empty chunk size", "\r\nhello\r\n0\r\n\r\n"),
    _chunks("client-chunk-underscore", "RFC 9112, 7.1", "an underscore in a chunk size", "0_5\r\nhello\r\n0\r\n\r\n"),
    _chunks("client-chunk-huge", "RFC 9112, 7.1.1", "a chunk size beyond all integers", "f" * 40 + "\r\nhello\r\n0\r\n\r\n"),
    _chunks("client-chunk-wraps", "RFC 9112, 7.1.1", "a chunk size that would wrap round to five", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    _chunks("client-chunk-too-long", "RFC 9112, 7.1", "a chunk longer than its size", "3\r\nhello\r\n0\r\n\r\n"),
    _chunks("client-chunk-no-crlf", "RFC 9112, 7.1", "a chunk without a line end", "5\r\nhello0\r\n\r\n"),
    _chunks("client-chunk-leading-space", "RFC 9112, 7.1", "a space before a chunk size", " 5\r\nhello\r\n0\r\n\r\n"),
    _chunks("client-chunk-bare-lf", "RFC 9112, 2.2", "a chunk size line that ends in LF", "5\nhello\r\n0\r\n\r\n"),
    _chunks("client-chunk-bare-cr", "RFC 9112, 2.2", "a chunk size line that ends in CR", "5\rhello\r\n0\r\n\r\n"),
    _chunks("client-chunk-extension-lf", "RFC 9112, 7.1.1", "an LF within a chunk extension", "5;a\nhello\r\n0\r\n\r\n"),
    _chunks("client-chunk-data-lf", "RFC 9112, 7.1", "a chunk whose data ends in LF", "5\r\nhello\n0\r\n\r\n"),
]

CLIENT_LINES = [
    _attack("client-bare-lf", "RFC 9112, 2.2", "lines that end in LF", "GET <path> HTTP/1.1\nHost: <host>\n\n"),
    _attack("client-bare-lf-field", "RFC 9112, 2.2", "one field line that ends in LF", "GET <path> HTTP/1.1\r\nHost: <host>\nX-A: b\r\n\r\n"),
    _attack("client-bare-cr-value", "RFC 9112, 2.2", "a bare CR in a field value", lines(*_GET, "X-Odd: a\rb")),
    _attack("client-bare-cr-line", "RFC 9112, 2.2", "lines that end in CR", "GET <path> HTTP/1.1\rHost: <host>\r\r\n\r\n"),
    _attack("client-cr-cr-lf", "RFC 9112, 2.2", "lines that end in CR CR LF", "GET <path> HTTP/1.1\r\r\nHost: <host>\r\r\n\r\r\n\r\n"),
    _attack("client-fold-space", "RFC 9112, 5.2", "a line folded with a space", lines(*_GET, "X-Odd: a", " b")),
    _attack("client-fold-tab", "RFC 9112, 5.2", "a line folded with a tab", lines(*_GET, "X-Odd: a", "\tb")),
    _attack("client-fold-first", "RFC 9112, 2.2", "white space before the first field line", lines(_GET[0], " Host: <host>")),
    _attack("client-space-before-colon", "RFC 9112, 5.1", "a space before the colon", lines(*_GET, "X-Odd : a")),
    _attack("client-tab-before-colon", "RFC 9112, 5.1", "a tab before the colon", lines(*_GET, "X-Odd\t: a")),
    _attack("client-no-colon", "RFC 9112, 5", "a field line without a colon", lines(*_GET, "Oddly")),
    _attack("client-no-name", "RFC 9112, 5", "a field line without a name", lines(*_GET, ": odd")),
    _attack("client-name-space", "RFC 9110, 5.1", "a space in a field name", lines(*_GET, "X Odd: a")),
    _attack("client-name-latin", "RFC 9110, 5.1", "a byte above ASCII in a field name", lines(*_GET, "X-\xd6dd: a")),
    _attack("client-name-control", "RFC 9110, 5.1", "a control character in a field name", lines(*_GET, "X-\x01dd: a")),
    _attack("client-name-brackets", "RFC 9110, 5.1", "a delimiter in a field name", lines(*_GET, "X[Odd]: a")),
    _attack("client-value-nul", "RFC 9110, 5.5", "a NUL in a field value", lines(*_GET, "X-Odd: a\0b")),
    _attack("client-value-control", "RFC 9110, 5.5", "a control character in a field value", lines(*_GET, "X-Odd: a\x07b")),
    _attack("client-value-delete", "RFC 9110, 5.5", "a DEL in a field value", lines(*_GET, "X-Odd: a\x7fb")),
    _attack("client-method-space", "RFC 9112, 3", "two spaces after the method", lines("GET  <path> HTTP/1.1", "Host: <host>")),
    _attack("client-method-tab", "RFC 9112, 3", "a tab after the method", lines("GET\t<path> HTTP/1.1", "Host: <host>")),
    _attack("client-method-delimiter", "RFC 9110, 9.1", "a delimiter in a method", lines("G(E)T <path> HTTP/1.1", "Host: <host>"), 400, 405, 501),
    _attack("client-method-latin", "RFC 9110, 9.1", "a byte above ASCII in a method", lines("G\xcbT <path> HTTP/1.1", "Host: <host>")),
    _attack("client-method-none", "RFC 9112, 3", "no method", lines("<path> HTTP/1.1", "Host: <host>")),
    _attack("client-target-space", "RFC 9112, 3.2", "a space in the target", lines("GET <path>/a b HTTP/1.1", "Host: <host>")),
    _attack("client-target-none", "RFC 9112, 3", "no target", lines("GET HTTP/1.1", "Host: <host>")),
    _attack("client-target-no-slash", "RFC 9112, 3.2", "a target that is none of the four forms", lines("GET conformance HTTP/1.1", "Host: <host>")),
    _attack("client-target-fragment", "RFC 9112, 3.2", "a fragment in the target", lines("GET <path>#part HTTP/1.1", "Host: <host>")),
    _attack("client-target-control", "RFC 9112, 3.2", "a control character in the target", lines("GET <path>/\x01 HTTP/1.1", "Host: <host>")),
    _attack("client-target-nul", "RFC 9112, 3.2", "a NUL in the target", lines("GET <path>/\0 HTTP/1.1", "Host: <host>")),
    _attack("client-target-huge", "RFC 9112, 3", "a target of a megabyte", lines("GET <path>/" + "x" * 1_000_000 + " HTTP/1.1", "Host: <host>"), 414, 400),
    _attack("client-version-none", "RFC 9112, 2.3", "no version", lines("GET <path>", "Host: <host>"), 400, 505),
    _attack("client-version-lower", "RFC 9112, 2.3", "a version in lower case", lines("GET <path> http/1.1", "Host: <host>")),
    _attack("client-version-2", "RFC 9112, 2.3", "a major version nobody speaks here", lines("GET <path> HTTP/2.0", "Host: <host>"), 400, 505),
    _attack("client-version-long", "RFC 9112, 2.3", "a version with too many digits", lines("GET <path> HTTP/1.10", "Host: <host>"), 400, 505),
    _attack("client-version-odd", "RFC 9112, 2.3", "a version that is none", lines("GET <path> HTTP/x.y", "Host: <host>"), 400, 505),
    _attack("client-trailing-words", "RFC 9112, 3", "words after the version", lines("GET <path> HTTP/1.1 please", "Host: <host>")),
    _attack("client-host-none", "RFC 9112, 3.2", "no Host", lines("GET <path> HTTP/1.1")),
    _attack("client-host-two", "RFC 9112, 3.2", "two Hosts", lines(*_GET, "Host: other.example")),
    _attack("client-host-two-equal", "RFC 9112, 3.2", "the same Host twice", lines(*_GET, "Host: <host>")),
    _attack("client-host-list", "RFC 9112, 3.2", "a list of hosts", lines("GET <path> HTTP/1.1", "Host: a.example, b.example")),
    _attack("client-host-userinfo", "RFC 9110, 4.2.4", "user information in Host", lines("GET <path> HTTP/1.1", "Host: me@a.example")),
    _attack("client-host-path", "RFC 9112, 3.2", "a path in Host", lines("GET <path> HTTP/1.1", "Host: a.example/b")),
    _attack("client-host-space", "RFC 9112, 3.2", "a space in Host", lines("GET <path> HTTP/1.1", "Host: a example")),
    _attack("client-fields-huge", "RFC 9110, 5.4", "a field of a megabyte", lines(*_GET, "X-Odd: " + "x" * 1_000_000), 431, 400),
    _attack("client-fields-many", "RFC 9110, 5.4", "a hundred thousand fields", lines(*_GET, *(f"X-{n}: 1" for n in range(100_000))), 431, 400),
]

CLIENT_GOOD = [
    case(
        "client-empty-line-first", "RFC 9112, 2.2", "an empty line before the request line is ignored",
        origin=[fresh()], client=[send("\r\n" + lines(*_GET), either("ignored or refused", fetched(1), status(400)), until_closed=False)],
    ),
    case(
        "client-host-empty", "RFC 9112, 3.2", "an empty Host is one",
        origin=[reply()], client=[send(lines("GET <path> HTTP/1.1", "Host:"), either("served or refused", fetched(1), status(400)), until_closed=False)],
    ),
    case(
        "client-1.0", "RFC 9112, 9.3", "after an HTTP/1.0 request the connection ends",
        origin=[reply()], client=[send(lines("GET <path> HTTP/1.0"), fetched(1), closed())],
    ),
    case(
        "client-1.0-version", "RFC 9112, 2.3", "the answer is in the highest version that the edge speaks, whatever the request's",
        origin=[reply()], client=[get(fetched(1), version("HTTP/1.1"), version="HTTP/1.0")],
    ),
    case(
        "client-target-bad-percent", "RFC 3986, 2.1", "a percent sign without two digits in a target is refused, or passed on as it is",
        origin=[reply()], client=[get(either("refused or passed on", status(400), every("as it is", fetched(1), asked_for("GET", "<path>/%zz"))), at="/%zz")],
    ),
    case(
        "client-1.0-keep-alive", "RFC 9112, 9.3", "an HTTP/1.0 client may ask to keep it",
        origin=[reply(), reply()], client=[get("Connection: keep-alive", fetched(1), version="HTTP/1.0"), get(fetched(2), at="/next")],
    ),
    case(
        "client-1.2", "RFC 9112, 2.3", "a higher minor version is answered like 1.1",
        origin=[reply()], client=[send(lines("GET <path> HTTP/1.2", "Host: <host>"), either("answered or refused", fetched(1), status(400, 505)), until_closed=False)],
    ),
    case(
        "client-close", "RFC 9112, 9.6", "a client that says close gets its answer and the end",
        origin=[reply()], client=[get("Connection: close", fetched(1), closed(), until_closed=True)],
    ),
    case(
        "client-close-hit", "RFC 9112, 9.6", "also from the cache",
        origin=[fresh()], client=[get(fetched(1)), get("Connection: close", reused(1), closed(), until_closed=True)],
    ),
    case(
        "client-pipelined", "RFC 9112, 9.3.2", "the first of two requests sent at once is answered first",
        origin=[reply(), reply()], client=[send(lines(*_GET) + lines("GET <path>/second HTTP/1.1", "Host: <host>"), status(200), answered(1), until_closed=False)],
    ),
    case(
        "client-chunk-extension", "RFC 9112, 7.1.1", "chunk extensions are ignored",
        origin=[reply()],
        client=[send(lines(*_POST, "Transfer-Encoding: chunked") + "5;a=b\r\nhello\r\n0\r\n\r\n", either("read or refused", every("read", fetched(1), asked_sending(b"hello")), status(400)), until_closed=False)],
    ),
    case(
        "client-chunk-upper", "RFC 9112, 7.1", "hexadecimal digits may be upper case",
        origin=[reply()], client=[send(lines(*_POST, "Transfer-Encoding: Chunked") + "A\r\nhellohello\r\n0\r\n\r\n", fetched(1), asked_sending(b"hellohello"), until_closed=False)],
    ),
    case(
        "client-trailers", "RFC 9112, 7.1.2", "a request's trailers are passed on as trailers or dropped",
        origin=[reply()], client=[post("Trailer: X-Sum", fetched(1), asked_sending(b"posted"), asked_without("X-Sum"), chunked=True, trailers=("X-Sum: 42",))],
    ),
    case(
        "client-length-leading-zeros", "RFC 9112, 6.3", "leading zeros of a length mean nothing",
        origin=[reply()], client=[send(lines(*_POST, "Content-Length: 0005") + "hello", either("read or refused", every("read", fetched(1), asked_sending(b"hello")), status(400)), until_closed=False)],
    ),
    case(
        "client-one-framing-upstream", "RFC 9112, 6.3", "the origin gets one kind of framing",
        origin=[reply()], client=[post(fetched(1), asked_without("Transfer-Encoding"), asked_with("Content-Length", "6"), asked_sending(b"posted"))],
    ),
    case(
        "client-underscore-field", "RFC 9110, 5.1", "a field with an underscore is a field like another, and no Content-Length",
        origin=[reply()], client=[send(lines(*_POST, "Content_Length: 50", "Content-Length: 5") + "hello", fetched(1), asked_sending(b"hello"), until_closed=False)],
    ),
    case(
        "client-get-with-chunks", "RFC 9110, 9.3.1", "a GET with chunks is read to its end or refused: what follows is the next request",
        origin=[reply(), reply()],
        client=[get(either("passed on or refused", status(200), status(400)), body=b"hello", chunked=True), get(status(200), asked_for("GET", "<path>/next"), at="/next")],
    ),
    case(
        "client-head-then-get", "RFC 9112, 9.3", "requests on one connection are answered in order, whatever their methods",
        origin=[fresh(), fresh(), reply()], client=[head(status(200)), get(status(200), at="/a"), post(fetched(3), at="/b"), get(status(200), answered(2), at="/a")],
    ),
    case(
        "client-te-absent-upstream", "RFC 9112, 6.1", "the origin gets no Transfer-Encoding with a GET",
        origin=[reply()], client=[get(fetched(1), asked_without("Transfer-Encoding", "Content-Length"))],
    ),
    case(
        "client-host-case", "RFC 9110, 4.2.3", "hosts are compared case-insensitively: the origin still gets one",
        origin=[fresh()], client=[get(fetched(1), asked_matching("Host", r"\S+"))],
    ),
]

DISTURBED = [
    case(
        "attack-then-cache", "RFC 9112, 11.1", "a smuggling attempt leaves no trace in the cache",
        origin=[fresh(), fresh()],
        client=[
            send(lines(*_POST, "Content-Length: 4", "Transfer-Encoding: chunked") + "0\r\n\r\nGET <path>/victim HTTP/1.1\r\nX: ", refused(400)),
            get(fetched(1), at="/victim"), get(reused(1), at="/victim"),
        ],
    ),
    case(
        "splitting-target", "RFC 9112, 11.1", "an encoded line end in the target stays encoded",
        origin=[reply()], client=[
            get(either("passed on or refused", every("passed on", fetched(1), asked_for("GET", "<path>/a%0D%0AX-Evil:%201"), asked_without("X-Evil")), status(400, 404)),
                at="/a%0d%0aX-Evil:%201"),
        ],
    ),
    case(
        "splitting-response", "RFC 9112, 11.1", "a line end that an origin hides in a value makes no second field",
        origin=[raw(lines(*_OK, "X-Odd: a\rX-Evil: 1", "Content-Length: 5") + "hello"), fresh()],
        client=[get(lacks("X-Evil"))],
    ),
    case(
        "pipelined-after-bad-body", "RFC 9112, 9.3", "what follows a broken body is no request",
        origin=[reply()], client=[send(lines(*_POST, "Transfer-Encoding: chunked") + "zz\r\n" + _INNER, status(400), closed(), either("nothing whole reached the origin", asked(0), asked_sending(b"")))],
    ),
    case(
        "error-is-not-stored", "RFC 9111, 3", "an error that the edge made is not stored",
        origin=[raw(""), raw(""), fresh()], client=[get(problem(502), has("Cache-Control", "no-store")), get(answered(3), again=True)],
    ),
]

CASES: list[Case] = [
    *ORIGIN_BAD, *ORIGIN_ODD, *ORIGIN_GOOD,
    *CLIENT_LENGTH, *CLIENT_CODING, *CLIENT_CHUNKS, *CLIENT_LINES, *CLIENT_GOOD, *DISTURBED,
]
