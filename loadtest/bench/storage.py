"""Puts the benchmark's objects where the edge finds them, as the publisher would: with boto3, in parallel."""

from __future__ import annotations

import configparser
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from loadtest.bench.cases import CACHE_CONTROL, Thing

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

PARALLEL = 8
REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Stack:
    """What `smartedu up` notes in stack.json, as far as we need it."""

    s3_endpoint: str
    bucket: str
    credentials_file: Path
    edge_pid: int


def read_stack(state: Path) -> Stack | None:
    """The stack of a state directory; None until its edge has been started."""
    try:
        note = json.loads((state / "stack.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    pid = note["pids"].get("edge")
    if pid is None:
        return None
    return Stack(note["s3_endpoint"], note["bucket"], Path(note["aws_credentials_file"]), pid)


def put(stack: Stack, objects: Iterable[tuple[str, Thing]]) -> None:
    """Upload every (path, thing). Raises botocore's errors."""
    client = _client(stack)

    def one(path: str, thing: Thing, body: bytes) -> None:
        client.put_object(
            Bucket=stack.bucket,
            Key=path.removeprefix("/"),
            Body=body,
            ContentType=thing.content_type,
            CacheControl=CACHE_CONTROL,
        )

    bodies: dict[Thing, bytes] = {}
    with ThreadPoolExecutor(PARALLEL) as pool:
        jobs = [pool.submit(one, path, thing, bodies.setdefault(thing, thing.body_at(path))) for path, thing in objects]
        for job in jobs:
            job.result()
    client.close()


def _client(stack: Stack) -> S3Client:
    identity = configparser.ConfigParser()
    identity.read(stack.credentials_file)
    return boto3.client(
        "s3",
        endpoint_url=stack.s3_endpoint,
        region_name=REGION,
        aws_access_key_id=identity["default"]["aws_access_key_id"],
        aws_secret_access_key=identity["default"]["aws_secret_access_key"],
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=PARALLEL, retries={"max_attempts": 2}),
    )
