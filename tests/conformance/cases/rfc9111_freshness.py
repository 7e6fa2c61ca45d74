"""RFC 9111, 4.2 and 5.1 to 5.4: how long a response is fresh, in legal syntax, odd syntax and none; and how old it is."""

# ruff: noqa: E501  (one case a line, as a table)
# fmt: off

from __future__ import annotations

from tests.conformance.claims import (
    age,
    asked,
    fetched,
    has,
    hit,
    lacks,
    matches,
    problem,
    reused,
    status,
    ttl,
    validated,
)
from tests.conformance.model import Case, case
from tests.conformance.script import LONG, fresh, get, not_modified, raw, reply, spent

_FUTURE = "Expires: <now+3600>"
_PAST = "Expires: <now-3600>"
_OLD = "Last-Modified: <now-864000>"
_DELTA = "RFC 9111, 1.2.2"
_LIFETIME = "RFC 9111, 4.2.1"
_SYNTAX = "RFC 9111, 5.2"
_EXPIRES = "RFC 9111, 5.3"
_DATES = "RFC 9111, 4.2"
_GUESS = "RFC 9111, 4.2.2"
_AGE = "RFC 9111, 4.2.3"
_AGE_FIELD = "RFC 9111, 5.1"


def _fresh(name: str, section: str, claim: str, *fields: str) -> Case:
    """The response is fresh: a second request is answered from the cache."""
    return case(name, section, claim, origin=[reply(*fields)], client=[get(fetched(1)), get(reused(1))])


def _stale(name: str, section: str, claim: str, *fields: str) -> Case:
    """The response is not fresh: a second request is answered by the origin."""
    return case(
        name, section, claim, origin=[reply(*fields), reply(*fields)], client=[get(fetched(1)), get(fetched(2))]
    )


def _control(name: str, section: str, claim: str, value: str, *fields: str, good: bool) -> Case:
    return (_fresh if good else _stale)(name, section, claim, f"Cache-Control: {value}", *fields)


MAX_AGE = [
    _control("max-age-beyond-age", _LIFETIME, "a lifetime longer than the age is fresh", "max-age=200", "Age: 100", good=True),
    _control("max-age-below-age", _LIFETIME, "a lifetime shorter than the age is stale", "max-age=60", "Age: 100", good=False),
    _control("max-age-equals-age", _DATES, "a lifetime equal to the age is stale", "max-age=100", "Age: 100", good=False),
    _control("max-age-zero", _LIFETIME, "a lifetime of zero is never fresh", "max-age=0", good=False),
    _control("max-age-quoted", _SYNTAX, "the quoted form of an argument is understood", 'max-age="3600"', good=True),
    _control("max-age-quoted-zero", _SYNTAX, "a quoted zero is zero", 'max-age="0"', _FUTURE, good=False),
    _control("max-age-upper-case", _SYNTAX, "directive names are compared case-insensitively", "MAX-AGE=3600", good=True),
    _control("max-age-mixed-case-zero", _SYNTAX, "also when the lifetime is zero", "mAx-aGe=0", _FUTURE, good=False),
    _control("max-age-leading-zeros", _DELTA, "leading zeros mean nothing", "max-age=0003600", good=True),
    _control("max-age-zeros", _DELTA, "several zeros are zero", "max-age=000", _FUTURE, good=False),
    _control("max-age-2-31", _DELTA, "2147483648 is a lifetime", "max-age=2147483648", good=True),
    _control("max-age-huge", _DELTA, "a number too great to represent is a very long lifetime", f"max-age={'9' * 30}", good=True),
    _control("max-age-negative", _LIFETIME, "a negative number is invalid, and so stale", "max-age=-3600", good=False),
    _control("max-age-negative-expires", _LIFETIME, "an invalid max-age still hides Expires", "max-age=-1", _FUTURE, good=False),
    _control("max-age-plus", _LIFETIME, "a sign is invalid", "max-age=+3600", good=False),
    _control("max-age-decimal", _LIFETIME, "a fraction is invalid", "max-age=3600.5", good=False),
    _control("max-age-word", _LIFETIME, "a word is invalid", "max-age=forever", good=False),
    _control("max-age-suffix", _LIFETIME, "digits with a suffix are invalid", "max-age=3600s", good=False),
    _control("max-age-hex", _LIFETIME, "a hexadecimal number is invalid", "max-age=0xe10", good=False),
    _control("max-age-empty", _LIFETIME, "an empty argument is invalid", "max-age=", good=False),
    _control("max-age-none", _LIFETIME, "a missing argument is invalid", "max-age", good=False),
    _control("max-age-semicolon", _LIFETIME, "a semicolon does not separate directives", "max-age=3600; public", good=False),
    _control("max-age-twice", _LIFETIME, "of two values the first counts, or none", "max-age=0, max-age=3600", good=False),
    _control("max-age-over-past-expires", _EXPIRES, "max-age hides a past Expires", "max-age=3600", _PAST, good=True),
    _control("max-age-over-future-expires", _EXPIRES, "max-age hides a future Expires", "max-age=0", _FUTURE, good=False),
    _control("max-age-over-bad-expires", _EXPIRES, "max-age hides an invalid Expires", "max-age=3600", "Expires: 0", good=True),
]

S_MAXAGE = [
    _control("s-maxage-over-zero-max-age", "RFC 9111, 5.2.2.10", "s-maxage wins over max-age=0", "max-age=0, s-maxage=3600", good=True),
    _control("s-maxage-zero-over-max-age", "RFC 9111, 5.2.2.10", "s-maxage=0 wins over max-age", "max-age=3600, s-maxage=0", good=False),
    _control("s-maxage-first", "RFC 9111, 5.2.2.10", "the order of directives means nothing", "s-maxage=3600, max-age=0", good=True),
    _control("s-maxage-over-expires", "RFC 9111, 5.2.2.10", "s-maxage hides a past Expires", "s-maxage=3600", _PAST, good=True),
    _control("s-maxage-zero-over-expires", "RFC 9111, 5.2.2.10", "s-maxage=0 hides a future Expires", "s-maxage=0", _FUTURE, good=False),
    _control("s-maxage-invalid", _LIFETIME, "an invalid s-maxage does not fall back to max-age", "s-maxage=x, max-age=3600", good=False),
    _control("s-maxage-below-age", "RFC 9111, 5.2.2.10", "the age counts against s-maxage", "s-maxage=60, max-age=3600", "Age: 100", good=False),
    _control("s-maxage-quoted", _SYNTAX, "s-maxage may be quoted", 's-maxage="3600"', good=True),
]

SYNTAX = [
    _control("cc-unknown-before", "RFC 9111, 5.2.3", "an unknown directive is ignored", "community, max-age=3600", good=True),
    _control("cc-unknown-argument", "RFC 9111, 5.2.3", "an unknown directive with an argument is ignored", "x=1, max-age=3600", good=True),
    _control("cc-quoted-comma", _SYNTAX, "a comma within quotes separates nothing", 'x="a, max-age=0", max-age=3600', good=True),
    _control("cc-quoted-no-store", _SYNTAX, "a directive's name within quotes is no directive", 'x="no-store", max-age=3600', good=True),
    _control("cc-quoted-listed-no-store", _SYNTAX, "nor is it between commas within quotes", 'x="a, no-store, b", max-age=3600', good=True),
    _control("cc-quoted-pair", _SYNTAX, "an escaped quote does not end a quoted argument", r'x="a\", no-store, \"b", max-age=3600', good=True),
    _control("cc-longer-name", _SYNTAX, "a longer name is another directive", "no-storest, private-ish, max-age=3600", good=True),
    _control("cc-prefixed-name", _SYNTAX, "a prefixed name is another directive", "x-no-store, max-age=3600", good=True),
    _control("cc-prefixed-max-age", _SYNTAX, "x-max-age is not max-age", "x-max-age=3600", good=False),
    _control("cc-empty-members", "RFC 9110, 5.6.1.2", "empty list members are ignored", ", ,max-age=3600, ,", good=True),
    _control("cc-tabs", "RFC 9110, 5.6.1", "tabs around commas are white space", "public\t,\tmax-age=3600", good=True),
    _control("cc-no-space", "RFC 9110, 5.6.1", "no space is needed after a comma", "public,max-age=3600", good=True),
    _control("cc-no-store-upper", _SYNTAX, "NO-STORE is no-store", "NO-STORE, max-age=3600", good=False),
    _control("cc-private-upper", _SYNTAX, "Private is private", "Private, max-age=3600", good=False),
    _control("cc-no-store-argument", _SYNTAX, "an argument no-store has no use for does not disable it", "no-store=1, max-age=3600", good=False),
    _fresh("cc-two-lines", "RFC 9110, 5.2", "several field lines are one list", "Cache-Control: public", "Cache-Control: max-age=3600"),
    _stale("cc-two-lines-no-store", "RFC 9110, 5.2", "a directive on the second line counts", LONG, "Cache-Control: no-store"),
    _fresh("cc-field-name-case", "RFC 9110, 5.1", "field names are compared case-insensitively", "cAcHe-cOnTrOl: max-age=3600"),
    _fresh("cc-no-space-after-colon", "RFC 9112, 5.1", "no space is needed after the colon", "Cache-Control:max-age=3600"),
    _fresh("cc-space-around-value", "RFC 9112, 5.1", "white space around a field value is no part of it", "Cache-Control: \t max-age=3600 \t "),
]

EXPIRES = [
    _fresh("expires-future", _EXPIRES, "a response is fresh until Expires", _FUTURE),
    _stale("expires-past", _EXPIRES, "and stale after it", _PAST),
    _stale("expires-now", _EXPIRES, "Expires equal to Date is a lifetime of zero", "Date: <now>", "Expires: <now>"),
    _stale("expires-zero", _EXPIRES, "0 is a time in the past", "Expires: 0"),
    _stale("expires-minus-one", _EXPIRES, "-1 is a time in the past", "Expires: -1"),
    _stale("expires-empty", _EXPIRES, "an empty Expires is a time in the past", "Expires:", _OLD),
    _stale("expires-word", _EXPIRES, "a word is a time in the past", "Expires: never"),
    _stale("expires-zero-beats-heuristics", _GUESS, "an invalid Expires is still explicit: no guessing", "Expires: 0", _OLD),
    _fresh("expires-rfc850", "RFC 9110, 5.6.7", "the RFC 850 format is understood", "Expires: <rfc850+3600>"),
    _fresh("expires-asctime", "RFC 9110, 5.6.7", "the asctime format is understood", "Expires: <asctime+3600>"),
    _fresh("expires-lower-case", _DATES, "dates are compared case-insensitively", "Expires: wed, 09 jun 2100 10:18:14 gmt"),
    _fresh("expires-9999", _EXPIRES, "the last date of four digits is far away", "Expires: Fri, 31 Dec 9999 23:59:59 GMT"),
    _stale("expires-utc", _DATES, "a zone other than GMT is invalid: UTC", "Expires: Wed, 09 Jun 2100 10:18:14 UTC"),
    _stale("expires-est", _DATES, "a zone other than GMT is invalid: EST", "Expires: Wed, 09 Jun 2100 10:18:14 EST"),
    _stale("expires-offset", _DATES, "a numeric zone is invalid", "Expires: Wed, 09 Jun 2100 10:18:14 +0000"),
    _stale("expires-no-zone", _DATES, "a missing zone is invalid", "Expires: Wed, 09 Jun 2100 10:18:14"),
    _stale("expires-one-digit-day", "RFC 9110, 5.6.7", "a day of one digit is invalid", "Expires: Wed, 9 Jun 2100 10:18:14 GMT"),
    _stale("expires-one-digit-hour", "RFC 9110, 5.6.7", "an hour of one digit is invalid", "Expires: Wed, 09 Jun 2100 1:18:14 GMT"),
    _stale("expires-two-digit-year", "RFC 9110, 5.6.7", "a year of two digits is invalid in this format", "Expires: Wed, 09 Jun 99 10:18:14 GMT"),
    _stale("expires-hyphens", "RFC 9110, 5.6.7", "hyphens are invalid in this format", "Expires: Wed, 09-Jun-2100 10:18:14 GMT"),
    _stale("expires-iso", "RFC 9110, 5.6.7", "an ISO 8601 date is invalid", "Expires: 2100-06-09T10:18:14Z"),
    _stale("expires-epoch-seconds", "RFC 9110, 5.6.7", "seconds since the epoch are invalid", "Expires: 4115787494"),
    _stale("expires-no-such-day", "RFC 9110, 5.6.7", "the 31st of June is invalid", "Expires: Thu, 31 Jun 2100 10:18:14 GMT"),
    _stale("expires-twice", _LIFETIME, "of two Expires the first counts, or none", _PAST, _FUTURE),
    _fresh("expires-ahead-of-slow-clock", _LIFETIME, "Expires counts from Date, whatever the edge's clock says", "Date: <now+7200>", "Expires: <now+10800>"),
    _stale("expires-behind-fast-clock", _LIFETIME, "Expires before Date is stale, though it is in the edge's future", "Date: <now+7200>", "Expires: <now+3600>"),
    _stale("expires-old-response", _AGE, "a response older than Expires - Date is stale", "Date: <now-7200>", "Expires: <now-3600>"),
    _stale("expires-age", _AGE, "Age counts against Expires, too", "Expires: <now+60>", "Age: 100"),
]

HEURISTICS = [
    _fresh("guess-tenth-below", _GUESS, "a tenth of the time since Last-Modified is fresh", "Last-Modified: <now-1000>", "Age: 80"),
    _stale("guess-tenth-above", _GUESS, "more than that is stale", "Last-Modified: <now-1000>", "Age: 120"),
    _fresh("guess-cap-below", _GUESS, "the guess is bounded: below an hour", "Last-Modified: <now-8640000>", "Age: 3500"),
    _stale("guess-cap-above", _GUESS, "the guess is bounded: above an hour", "Last-Modified: <now-8640000>", "Age: 3700"),
    _stale("guess-future", _GUESS, "a Last-Modified in the future allows no guess", "Last-Modified: <now+864000>"),
    _stale("guess-invalid", _GUESS, "an invalid Last-Modified allows no guess", "Last-Modified: long ago"),
    _stale("guess-not-max-age", _GUESS, "max-age=0 allows no guess", "Cache-Control: max-age=0", _OLD),
    _stale("guess-not-invalid-max-age", _GUESS, "an invalid max-age is no reason to guess", "Cache-Control: max-age=x", _OLD),
    _stale("guess-not-past-expires", _GUESS, "a past Expires allows no guess", _PAST, _OLD),
    _stale("guess-not-no-cache", _GUESS, "no-cache allows no guess", "Cache-Control: no-cache", _OLD),
    _fresh("guess-unknown-directive", _GUESS, "an unknown directive does not prevent guessing", "Cache-Control: community", _OLD),
    _fresh("guess-must-revalidate", _GUESS, "must-revalidate does not prevent guessing", "Cache-Control: must-revalidate", _OLD),
    _stale("guess-later-than-date", _GUESS, "a Last-Modified later than Date allows no guess", "Date: <now-100>", "Last-Modified: <now-50>"),
    case(
        "guess-with-query", _GUESS, "a URI with a query may be guessed about like another",
        origin=[reply(_OLD)], client=[get(fetched(1), at="?a=1"), get(reused(1), at="?a=1")],
    ),
    case(
        "guess-ttl", "RFC 9211, 2.4", "the remaining guess is what ttl tells",
        origin=[reply("Last-Modified: <now-10000>")], client=[get(fetched(1)), get(reused(1), ttl(990, 1001))],
    ),
]

AGE = [
    _stale("age-date", _AGE, "a response is at least as old as its Date", "Cache-Control: max-age=60", "Date: <now-100>"),
    _fresh("age-date-below", _AGE, "an old Date within the lifetime is fresh", "Cache-Control: max-age=200", "Date: <now-100>"),
    _fresh("age-date-future", _AGE, "a Date in the future is an age of zero", "Cache-Control: max-age=60", "Date: <now+100>"),
    _fresh("age-date-invalid", _AGE, "an invalid Date tells no age", "Cache-Control: max-age=60", "Date: yesterday"),
    _stale("age-first-line", _AGE_FIELD, "of two Age lines the first counts: old", "Cache-Control: max-age=60", "Age: 100", "Age: 0"),
    _fresh("age-first-line-young", _AGE_FIELD, "of two Age lines the first counts: young", "Cache-Control: max-age=60", "Age: 0", "Age: 100"),
    _stale("age-list", _AGE_FIELD, "of a list the first member counts: old", "Cache-Control: max-age=60", "Age: 100, 0"),
    _fresh("age-list-young", _AGE_FIELD, "of a list the first member counts: young", "Cache-Control: max-age=60", "Age: 0, 100"),
    _fresh("age-word", _AGE_FIELD, "an invalid Age is ignored: a word", "Cache-Control: max-age=60", "Age: old"),
    _fresh("age-negative", _AGE_FIELD, "an invalid Age is ignored: negative", "Cache-Control: max-age=60", "Age: -100"),
    _fresh("age-decimal", _AGE_FIELD, "an invalid Age is ignored: a fraction", "Cache-Control: max-age=60", "Age: 100.5"),
    _fresh("age-quoted", _AGE_FIELD, "an invalid Age is ignored: quoted", "Cache-Control: max-age=60", 'Age: "100"'),
    _fresh("age-suffix", _AGE_FIELD, "an invalid Age is ignored: with a suffix", "Cache-Control: max-age=60", "Age: 100s"),
    _fresh("age-empty", _AGE_FIELD, "an invalid Age is ignored: empty", "Cache-Control: max-age=60", "Age:"),
    _stale("age-zeros", _DELTA, "leading zeros in Age mean nothing", "Cache-Control: max-age=60", "Age: 000100"),
    _stale("age-huge", _DELTA, "an Age too great to represent is very old", LONG, f"Age: {'9' * 30}"),
]


def _aged(name: str, claim: str, least: int, *fields: str, section: str = _AGE) -> Case:
    """The Age of a hit."""
    return case(
        name, section, claim, origin=[fresh(*fields)], client=[get(fetched(1)), get(reused(1), age(least, least + 10))]
    )


SENT_AGE = [
    _aged("age-sent-zero", "a response just fetched is young", 0),
    _aged("age-sent-received", "the origin's Age is added to", 100, "Age: 100"),
    _aged("age-sent-apparent", "the time since Date is the least age", 100, "Date: <now-100>"),
    _aged("age-sent-greater-age", "of Age and the time since Date the greater counts: Age", 200, "Age: 200", "Date: <now-100>"),
    _aged("age-sent-greater-date", "of Age and the time since Date the greater counts: Date", 100, "Age: 5", "Date: <now-100>"),
    _aged("age-sent-future-date", "an age is never negative", 0, "Date: <now+100>"),
    _aged("age-sent-once", "of several Age lines one is sent", 100, "Age: 100", "Age: 200", section=_AGE_FIELD),
    _aged("age-sent-instead-of-nonsense", "an invalid Age is replaced", 0, "Age: old", section=_AGE_FIELD),
    case(
        "age-sent-on-fetch", _AGE_FIELD, "what was fetched for this request carries the Age that the origin told",
        origin=[fresh("Age: 100")], client=[get(fetched(1), matches("Age", r"10\d"))],
    ),
    case(
        "age-not-on-fetch", _AGE_FIELD, "an Age would say that the response was not generated for this request: there is none",
        origin=[fresh()], client=[get(fetched(1), lacks("Age"))],
    ),
    case(
        "age-not-on-validation", _AGE_FIELD, "nor is there one when it was validated for this request",
        origin=[spent('ETag: "a"'), not_modified(LONG, 'ETag: "a"')], client=[get(fetched(1)), get(validated(1), lacks("Age"))],
    ),
    case(
        "age-sent-on-304", "RFC 9111, 4", "a 304 made from a stored response carries its Age",
        origin=[fresh("Age: 100", 'ETag: "a"')],
        client=[get(fetched(1)), get('If-None-Match: "a"', status(304), asked(0), hit(), age(100, 110))],
    ),
    case(
        "age-and-date", _AGE, "Date on a hit stays the origin's, so that Age and Date agree",
        origin=[fresh("Date: <now-200>")], client=[get(fetched(1)), get(reused(1), has("Date", "<now-200>"), age(200, 210))],
    ),
]

PRAGMA = [
    _fresh("pragma-response", "RFC 9111, 5.4", "Pragma in a response says nothing", LONG, "Pragma: no-cache"),
    _fresh("pragma-response-expires", "RFC 9111, 5.4", "nor does it without Cache-Control", _FUTURE, "Pragma: no-cache"),
]

STALE = [
    case(
        "stale-origin-gone", "RFC 9111, 4.2.4", "a stale response is not served because the origin fails, unless it allows that",
        origin=[spent(), raw("")], client=[get(fetched(1)), get(problem(502))],
    ),
    case(
        "stale-must-revalidate-origin-gone", "RFC 9111, 5.2.2.2", "with must-revalidate an error is the only answer when the origin fails",
        origin=[reply("Cache-Control: max-age=60, must-revalidate", "Age: 100"), raw("")],
        client=[get(fetched(1)), get(status(502, 504))],
    ),
    case(
        "stale-origin-error", "RFC 9111, 4.3.3", "an origin's 500 reaches the client when the stale response does not allow itself",
        origin=[spent('ETag: "a"'), reply(status=500)], client=[get(fetched(1)), get(fetched(2))],
    ),
    case(
        "stale-replaced", "RFC 9111, 4.3.3", "a stale response is replaced by what the origin answers now",
        origin=[spent(), fresh()], client=[get(fetched(1)), get(fetched(2)), get(reused(2))],
    ),
    case(
        "stale-replaced-by-404", "RFC 9111, 4.3.3", "also when it answers that there is nothing any more",
        origin=[spent(), reply("Cache-Control: max-age=60", status=404)],
        client=[get(fetched(1)), get(fetched(2)), get(reused(2))],
    ),
    case(
        "stale-warning-not-needed", "RFC 9111, 5.5", "a Warning of the origin is passed on and none is added",
        origin=[fresh()], client=[get(fetched(1)), get(reused(1), lacks("Warning"))],
    ),
]

CASES: list[Case] = [
    *MAX_AGE, *S_MAXAGE, *SYNTAX, *EXPIRES, *HEURISTICS, *AGE, *SENT_AGE, *PRAGMA, *STALE,
]
