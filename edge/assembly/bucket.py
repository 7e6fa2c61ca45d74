"""The origin's bucket as the object store of history: boto3 in threads of its own, a few at a time."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from edge.counters.history import HistoryError, Stored
from origin.errors import PublishError
from origin.store import Store, Upload, upload_of

T = TypeVar("T")

_THREADS: Final = 2
_TYPES: Final = {".parquet": "application/vnd.apache.parquet", ".json": "application/json"}
_PRIVATE: Final = "no-store"
_TAGS: Final = ("counts",)
_PIECE: Final = 1024 * 1024


class BucketStore:
    """An `edge.counters.history.ObjectStore` over one bucket."""

    def __init__(self, connect: Callable[[], Store], has_credentials: Callable[[], bool] = lambda: True) -> None:
        """connect: makes the store, in a thread, when it is first needed: boto3 reads files for that.
        has_credentials: looks for them, in a thread."""
        self._connect, self._has_credentials = connect, has_credentials
        self._store: Store | None = None
        self._executor = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="history")

    async def usable(self) -> bool:
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._has_credentials)

    async def put(self, name: str, source: Path, sha256: str) -> None:
        await self._do(lambda store: store.put(_upload(name, source, sha256)))

    async def put_if(self, name: str, content: bytes, etag: str | None) -> bool:
        upload = upload_of(name, content, _content_type(name), _PRIVATE, _TAGS)
        return await self._do(lambda store: store.put_if(upload, etag))

    async def read(self, name: str) -> Stored | None:
        found = await self._do(lambda store: store.read(name))
        return Stored(*found) if found is not None else None

    async def fetch(self, name: str, target: Path) -> bool:
        return await self._do(lambda store: store.fetch(name, target))

    async def folders(self, folder: str) -> list[str]:
        return await self._do(lambda store: store.folders(folder))

    async def ages(self, folder: str) -> dict[str, float]:
        found = await self._do(lambda store: store.listing(folder))
        now = datetime.now(UTC)
        return {name: (now - one.stored_at).total_seconds() for name, one in found.items() if one.stored_at is not None}

    async def remove(self, name: str) -> None:
        await self._do(lambda store: store.remove(name))

    async def close(self) -> None:
        """Give the threads back; what is under way in them ends by its own deadlines."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _do(self, work: Callable[[Store], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, partial(self._with_store, work))
        except (PublishError, OSError) as error:
            raise HistoryError(str(error)) from error

    def _with_store(self, work: Callable[[Store], T]) -> T:
        if self._store is None:
            self._store = self._connect()
        return work(self._store)


def _upload(name: str, source: Path, sha256: str) -> Upload:
    md5 = hashlib.md5(usedforsecurity=False)
    with source.open("rb") as file:
        while piece := file.read(_PIECE):
            md5.update(piece)
    size = source.stat().st_size
    return Upload(name, source, size, sha256, md5.hexdigest(), _content_type(name), _PRIVATE, _TAGS)


def _content_type(name: str) -> str:
    return _TYPES[Path(name).suffix]
