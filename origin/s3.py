"""Objects of one S3 bucket, streamed on the event loop: botocore only signs.

boto3 would need a thread for every read under way. What the cache sees are the plain HTTP fields of a representation,
by a list of those that pass: every store has its own names for what concerns nobody else. Two that `smartedu publish`
wrote are translated into their standard names: `x-amz-meta-sha256` (hex) into `Repr-Digest` (RFC 9530),
`x-amz-meta-surrogate-key` into `Surrogate-Key`.
"""

from __future__ import annotations

import base64
import binascii
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from origin.http import Deadlines, HttpClient
from origin.reader import Chunks, Headers, OriginError, OriginFailure, ReadRequest, ReadResponse

# What describes the object and its bytes (RFC 9110, 8 and 14.4; RFC 9111, 5). Not Vary, Accept-Ranges or Server: those
# are the store's own words about itself, and the edge says its own.
_PASSED = frozenset(
    {
        "age",
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-length",
        "content-range",
        "content-type",
        "date",
        "etag",
        "expires",
        "last-modified",
    }
)
_OWN_FIELDS = {"User-Agent": "smartedu-edge", "Accept": "*/*", "Accept-Encoding": "identity"}
_RESERVED = re.compile(r"[^A-Za-z0-9._~/%-]")
_ANSWERS = frozenset({200, 206, 304, 404, 412, 416})
_ERROR_LIMIT = 16 * 1024  # bytes of an error document that are looked at
_ERROR_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")


@dataclass(frozen=True, slots=True)
class AccessKey:
    """Credentials of one S3 account; token only for temporary ones."""

    key_id: str
    secret: str
    token: str | None = None


class S3Reader:
    """An ObjectReader over `{endpoint}/{bucket}/{prefix}{target}` (path-style addresses).

    Objects are only read (GET, HEAD), by name: a query would ask the store for something else than the object, and
    neither it nor the client's fields are passed on. credentials: called for every read, so that rotating ones stay
    right; it must not block. None reads unsigned. tls: for an https endpoint.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        bucket: str,
        prefix: str = "",
        region: str = "us-east-1",
        credentials: Callable[[], AccessKey | None],
        deadlines: Deadlines | None = None,
        max_concurrent: int = 64,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._root = "/" + "/".join(quote(part, safe="/-_.~") for part in (bucket, prefix.strip("/")) if part)
        self._region = region
        self._credentials = credentials
        self._client = HttpClient(
            endpoint.rstrip("/"), deadlines=deadlines or Deadlines(), max_concurrent=max_concurrent, tls=tls
        )
        self._endpoint = endpoint.rstrip("/")

    @asynccontextmanager
    async def open(self, request: ReadRequest) -> AsyncIterator[ReadResponse]:
        """Read one object; OriginError when there is no usable answer. A missing object is a plain 404."""
        if request.method not in ("GET", "HEAD"):
            raise OriginError(OriginFailure.REQUEST, "objects are only read", status=405)
        name = object_name(request.target)
        if name == "/":  # not an object: the store would list the bucket
            yield _missing()
            return
        target = self._root + name
        read = replace(request, target=target, headers=(), body=None, body_length=None, on_interim=None)
        fields = {**_OWN_FIELDS, **self.signature(target, request.method), **request.fields()}
        async with self._client.exchange(read, tuple(fields.items())) as response:
            if response.status not in _ANSWERS:
                raise _refusal(response.status, await _error_code(response))
            if response.status == 404:
                code = await _error_code(response)
                if code == "NoSuchBucket":
                    raise _refusal(404, code)
                yield _missing()
                return
            yield ReadResponse(response.status, plain_fields(response.headers), response.chunks)

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._client.close()

    def signature(self, target: str, method: str = "GET") -> dict[str, str]:
        """The SigV4 fields for a read of `target` (percent-encoded); empty without credentials.

        Only the host and `x-amz-*` are signed, as S3 demands: Range and conditions may then be added freely.
        """
        access = self._credentials()
        if access is None:
            return {}
        signed = AWSRequest(method=method, url=self._endpoint + target)
        S3SigV4Auth(Credentials(access.key_id, access.secret, access.token), "s3", self._region).add_auth(signed)
        return dict(signed.headers.items())


def object_name(target: str) -> str:
    """The path of a canonical target in S3's own spelling: nothing left as it is but unreserved characters and `/`.

    A signature covers the spelling, and the store checks it against its own.
    """
    return _RESERVED.sub(lambda match: f"%{ord(match[0]):02X}", target.partition("?")[0])


def plain_fields(headers: Headers) -> Headers:
    """S3's response fields as an ordinary origin would have sent them."""
    plain: list[tuple[str, str]] = []
    for name, value in headers:
        if name == "x-amz-meta-sha256":
            digest = repr_digest(value)
            if digest is not None:
                plain.append(("repr-digest", digest))
        elif name == "x-amz-meta-surrogate-key":
            plain.append(("surrogate-key", value))
        elif name in _PASSED:
            plain.append((name, value))
    return tuple(plain)


def repr_digest(hexadecimal: str) -> str | None:
    """A hexadecimal SHA-256 as a Repr-Digest field value; None when it is not one."""
    try:
        raw = binascii.unhexlify(hexadecimal.strip())
    except (binascii.Error, ValueError):
        return None
    return f"sha-256=:{base64.b64encode(raw).decode('ascii')}:" if len(raw) == 32 else None


def _refusal(status: int, code: str) -> OriginError:
    said = f"object storage answered {status} {code}".rstrip()
    if code == "SlowDown" or status in (429, 503):
        return OriginError(OriginFailure.UNAVAILABLE, said)
    if status in (400, 401, 403, 404) or 300 <= status < 400:
        return OriginError(OriginFailure.CONFIGURATION, f"{said}: check bucket, region and credentials")
    return OriginError(OriginFailure.UNAVAILABLE, said)


async def _error_code(response: ReadResponse) -> str:
    """The code in S3's error document, or nothing."""
    document = b""
    async for chunk in response.chunks:
        document += chunk
        if len(document) > _ERROR_LIMIT:
            break
    found = _ERROR_CODE.search(document)
    return found[1].decode("ascii") if found else ""


def _missing() -> ReadResponse:
    return ReadResponse(404, (("content-length", "0"),), _nothing())


async def _nothing() -> Chunks:
    empty: tuple[bytes, ...] = ()
    for chunk in empty:
        yield chunk
