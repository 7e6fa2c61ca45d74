"""Objects in the storage as the publisher writes them, without a lesson around them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

SEGMENT = "public, max-age=31536000, immutable"
PLAYLIST = "public, max-age=1, stale-while-revalidate=1, stale-if-error=86400"


def put(
    client: S3Client, bucket: str, key: str, body: bytes, *, cache_control: str = SEGMENT, kind: str = "video/mp4"
) -> str:
    """Store an object; returns its SHA-256 in hexadecimal."""
    digest = hashlib.sha256(body).hexdigest()
    client.put_object(
        Bucket=bucket,
        Key=key,
        Body=body,
        ContentType=kind,
        CacheControl=cache_control,
        Metadata={"sha256": digest, "surrogate-key": "test"},
    )
    return digest
