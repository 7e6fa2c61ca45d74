"""The writing side of object storage: put with a checksum, look again, and never trust what is there by its name alone.

An object that is there with the right size and MD5 (its ETag) is not sent again. Each put carries a SHA-256 that the
server verifies, and is followed by a HEAD that compares size, ETag and metadata: a mismatch is an error.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    CredentialRetrievalError,
    InvalidConfigError,
    InvalidRegionError,
    MetadataRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)

from origin.errors import PublishError, WrongInputError
from origin.parallel import each

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import HeadObjectOutputTypeDef

THREADS = 8
CONNECT_S = 5
READ_S = 60
ATTEMPTS = 4
PIECE = 256 * 1024
# What the environment, a file or an option says wrongly, and no second try puts right.
MISCONFIGURED = (
    ConfigNotFound,
    ConfigParseError,
    InvalidConfigError,
    InvalidRegionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)
# The name of the S3 object tag, and of the metadata field, that hold an object's surrogate keys.
TAG = "surrogate-key"
IMMUTABLE = "public, max-age=31536000, immutable"
PLAYLIST = "public, max-age=5, stale-while-revalidate=30, stale-if-error=86400"
POSTER = "public, max-age=60, stale-while-revalidate=600, stale-if-error=86400"
VERSION = "public, max-age=2, stale-while-revalidate=30, stale-if-error=86400"


@dataclass(frozen=True, slots=True)
class Location:
    """Where the published root is: a bucket of an S3 endpoint (None: AWS's own), a prefix without slashes at its ends.

    Credentials come from the usual AWS environment and files unless given here.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    access_key: str | None = None
    secret_key: str | None = None

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}" if self.prefix else f"s3://{self.bucket}"


def parse_origin(text: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://bucket[/prefix]`; raises WrongInputError when it is something else."""
    scheme, _, rest = text.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise WrongInputError(f"origin {text!r} is not possible; allowed is s3://bucket[/prefix]")
    return bucket, prefix.strip("/")


@dataclass(frozen=True, slots=True)
class Upload:
    """One object to be there: its path from the published root (no leading slash), bytes or the file that holds them.

    tags: surrogate keys, for purging. size, sha256, md5: of the bytes.
    """

    path: str
    content: bytes | Path
    size: int
    sha256: str
    md5: str
    content_type: str
    cache_control: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """What storage says of an object. sha256 is known after a HEAD only, stored_at from a listing."""

    size: int
    etag: str
    sha256: str | None = None
    stored_at: datetime | None = None


def upload_of(path: str, data: bytes, content_type: str, cache_control: str, tags: tuple[str, ...]) -> Upload:
    """An upload of bytes at hand."""
    return Upload(
        path=path,
        content=data,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        md5=hashlib.md5(data, usedforsecurity=False).hexdigest(),
        content_type=content_type,
        cache_control=cache_control,
        tags=tags,
    )


def client_for(location: Location, ca: Path | None = None, region: str | None = None) -> S3Client:
    """A boto3 client of this location. ca: authorities (PEM) that an https endpoint is verified against.

    Raises WrongInputError when the endpoint is none, or what AWS files and variables say can't be used.
    """
    _check_endpoint(location.endpoint)
    try:
        return _client(location, ca, region)
    except (CredentialRetrievalError, MetadataRetrievalError) as error:
        raise _unusable(location, error) from error
    except (BotoCoreError, ValueError) as error:  # nobody has been asked yet: it is what files and variables say
        raise WrongInputError(f"storage {_where(location)} can't be used: {_line(error)}") from error


def _check_endpoint(endpoint: str | None) -> None:
    """The SDK names neither what is allowed nor every address that it can't use."""
    if endpoint is None:
        return
    try:
        parts = urlsplit(endpoint)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a bracket or a port that is none
        good = False
    if not good:
        allowed = "http://HOST[:PORT] or https://HOST[:PORT]"
        raise WrongInputError(f"s3-endpoint {_without_password(endpoint)!r} is not possible; allowed is {allowed}")


def _client(location: Location, ca: Path | None, region: str | None) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=location.endpoint,
        aws_access_key_id=location.access_key,
        aws_secret_access_key=location.secret_key,
        region_name=region or ("us-east-1" if location.endpoint else None),
        verify=str(ca) if ca is not None else None,
        config=Config(
            s3={"addressing_style": "path" if location.endpoint else "auto"},
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
            max_pool_connections=THREADS * 2,
        ),
    )


class Store:
    """Reads and writes under one published root. Errors of storage become PublishError naming the object."""

    def __init__(self, location: Location, client: S3Client | None = None) -> None:
        self.location = location
        self._client = client or client_for(location)

    def check(self) -> None:
        """Raises PublishError when the bucket isn't there or may not be used."""
        try:
            with self._explained(str(self.location)):
                self._client.head_bucket(Bucket=self.location.bucket)
        except _AbsentError as error:
            raise PublishError(f"bucket {self.location.bucket!r} does not exist at {_where(self.location)}") from error

    def listing(self, folder: str) -> dict[str, Stored]:
        """Path -> what is stored, for all objects below a folder of the published root."""
        found: dict[str, Stored] = {}
        with self._explained(folder):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.location.bucket, Prefix=self._key(folder.rstrip("/") + "/")
            )
            for page in pages:
                for item in page.get("Contents", []):
                    path = item["Key"].removeprefix(self._key(""))
                    found[path] = Stored(item["Size"], item["ETag"].strip('"'), stored_at=item["LastModified"])
        return found

    def read(self, path: str) -> tuple[bytes, str] | None:
        """An object's bytes and its entity tag; None when there is none."""
        try:
            with self._explained(path):
                answer = self._client.get_object(Bucket=self.location.bucket, Key=self._key(path))
                return answer["Body"].read(), answer["ETag"]
        except _AbsentError:
            return None

    def fetch(self, path: str, target: Path) -> bool:
        """Writes an object into a file, piece by piece; False when there is none."""
        try:
            with self._explained(path):
                answer = self._client.get_object(Bucket=self.location.bucket, Key=self._key(path))
                with target.open("wb") as file:
                    for piece in answer["Body"].iter_chunks(PIECE):
                        file.write(piece)
        except _AbsentError:
            return False
        return True

    def folders(self, folder: str) -> list[str]:
        """Names of the folders right below `folder` (empty: the published root), without slashes."""
        prefix = self._key(f"{folder.strip('/')}/".lstrip("/"))
        found = []
        with self._explained(folder):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.location.bucket, Prefix=prefix, Delimiter="/"
            )
            for page in pages:
                found += [item["Prefix"].removeprefix(prefix).strip("/") for item in page.get("CommonPrefixes", [])]
        return found

    def remove(self, path: str) -> None:
        """Deletes an object; nothing happens when there is none."""
        with self._explained(path):
            self._client.delete_object(Bucket=self.location.bucket, Key=self._key(path))

    def head(self, path: str) -> Stored | None:
        """Size, ETag and the SHA-256 noted at publishing; None when there is no such object."""
        found = self._head(path)
        if found is None:
            return None
        return Stored(found["ContentLength"], found["ETag"].strip('"'), found.get("Metadata", {}).get("sha256"))

    def put_all(self, uploads: Iterable[Upload], done: Callable[[Upload], None]) -> None:
        """Puts and verifies many, several at a time; `done` is told of each, in this thread.

        The first failure ends it: what has begun is finished, nothing more is begun.
        """
        each(self.put, uploads, lambda upload, _: done(upload), threads=THREADS)

    def put(self, upload: Upload) -> None:
        """Puts one object and verifies it."""
        self._send(upload, {})
        self.verify(upload)

    def put_if(self, upload: Upload, etag: str | None) -> bool:
        """Puts an object only where the stored one has this entity tag (None: only where there is none).

        False when somebody else was faster. The server decides, atomically: SeaweedFS 4.48, AWS, Ceph and MinIO do.
        """
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        try:
            self._send(upload, condition)
        except _ConditionFailedError:
            return False
        return True

    def verify(self, upload: Upload) -> None:
        """Raises PublishError when what is stored differs from what was to be stored, head by head."""
        found = self._head(upload.path)
        if found is None:
            raise PublishError(f"storage lost {upload.path}: put, but not there")
        metadata = found.get("Metadata", {})
        facts = (
            ("size", found["ContentLength"], upload.size),
            ("sha256", metadata.get("sha256"), upload.sha256),
            (TAG, metadata.get(TAG), " ".join(upload.tags)),
            ("object tag", self._tag(upload.path), " ".join(upload.tags)),
            ("content type", found.get("ContentType"), upload.content_type),
            ("cache control", found.get("CacheControl"), upload.cache_control),
        )
        for name, stored, wanted in facts:
            if stored != wanted:
                raise PublishError(f"storage changed {upload.path}: its {name} is {stored!r}, not {wanted!r}")
        if not same_bytes(Stored(upload.size, found["ETag"].strip('"')), upload.md5):
            raise PublishError(f"storage changed {upload.path}: its ETag is {found['ETag']}, not {upload.md5}")

    def _send(self, upload: Upload, condition: Mapping[str, str]) -> None:
        body = upload.content if isinstance(upload.content, bytes) else upload.content.read_bytes()
        digest = hashlib.sha256(body).digest()
        if digest.hex() != upload.sha256:
            raise PublishError(
                f"{upload.content if isinstance(upload.content, Path) else upload.path} changed meanwhile"
            )
        with self._explained(upload.path):
            self._client.put_object(
                Bucket=self.location.bucket,
                Key=self._key(upload.path),
                Body=body,
                ContentType=upload.content_type,
                CacheControl=upload.cache_control,
                ChecksumSHA256=base64.b64encode(digest).decode(),
                Metadata={"sha256": upload.sha256, TAG: " ".join(upload.tags)},
                Tagging=urlencode({TAG: " ".join(upload.tags)}),
                **condition,  # type: ignore[arg-type]
            )

    def _head(self, path: str) -> HeadObjectOutputTypeDef | None:
        try:
            with self._explained(path):
                return self._client.head_object(Bucket=self.location.bucket, Key=self._key(path))
        except _AbsentError:
            return None

    def _tag(self, path: str) -> str | None:
        with self._explained(path):
            found = self._client.get_object_tagging(Bucket=self.location.bucket, Key=self._key(path))["TagSet"]
        return next((tag["Value"] for tag in found if tag["Key"] == TAG), None)

    def _key(self, path: str) -> str:
        path = path.lstrip("/")
        return f"{self.location.prefix}/{path}" if self.location.prefix else path

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """What the client raises becomes PublishError; what: the object, or whatever else is asked for."""
        try:
            yield
        except ClientError as error:
            raise self._refused(what, error) from error
        except BotoCoreError as error:
            raise _unusable(self.location, error) from error

    def _refused(self, what: str, error: ClientError) -> PublishError:
        told = error.response.get("Error", {})
        detail = f"{told.get('Code', '?')}: {told.get('Message', '')}".rstrip(": ")
        full = "space" in detail.lower() or "no writable volumes" in detail.lower()
        if _status(error) == 507 or (full and _status(error) not in (404, 409, 412)):
            return PublishError(f"no space left in storage {_where(self.location)}: {what}: {detail}")
        hint = (
            "; its disk may be full: see its log" if _status(error) >= 500 else ""
        )  # SeaweedFS says no more than that
        kind = {404: _AbsentError, 409: _ConditionFailedError, 412: _ConditionFailedError}.get(
            _status(error), PublishError
        )
        return kind(f"storage {_where(self.location)} refused {what}: {detail} (status {_status(error)}{hint})")


def _where(location: Location) -> str:
    return _without_password(location.endpoint) if location.endpoint else "AWS"


def _without_password(endpoint: str) -> str:
    return re.sub(r"//.*@", "//…@", endpoint)


def _unusable(location: Location, error: BotoCoreError) -> PublishError:
    """WrongInputError where what was given is at fault, and not the storage."""
    if isinstance(error, NoCredentialsError):
        wanted = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws/credentials"
        return WrongInputError(f"no credentials for storage {_where(location)}: give {wanted}")
    kind = WrongInputError if isinstance(error, MISCONFIGURED) else PublishError
    return kind(f"storage {_where(location)} can't be used: {_line(error)}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


class _AbsentError(PublishError):
    """There is no such object, or no such bucket."""


class _ConditionFailedError(PublishError):
    """The stored object is not the one the condition named."""


def same_bytes(stored: Stored, md5: str) -> bool:
    """Whether an ETag agrees with an MD5. An ETag that is no MD5 (encrypted, multipart) says nothing and agrees."""
    if len(stored.etag) != 32:
        return True
    try:
        binascii.unhexlify(stored.etag)
    except ValueError:
        return True
    return stored.etag == md5


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
