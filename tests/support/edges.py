"""Real edge nodes as child processes, one call each."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from deploy.local.child import Child, Program
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.probe import http_status
from tests.support.processes import children

READY_WITHIN_S = 30.0
STOP_WITHIN_S = 20.0
_SERVES = re.compile(r"edge\.server\[(\d+)\] worker serves")


@dataclass(frozen=True, slots=True)
class Edge:
    """A running `smartedu serve`."""

    url: str
    admin_url: str
    data_dir: Path
    child: Child

    @property
    def pid(self) -> int:
        """The process that was started: parent of the workers."""
        if self.child.pid is None:
            raise ProcessLookupError(f"the edge does not run; its log:\n{self.logs()}")
        return self.child.pid

    def worker_pids(self) -> list[int]:
        """The workers alive now."""
        return children(self.pid)

    def logs(self) -> str:
        """Everything it has written so far."""
        return self.child.program.log.read_text(errors="replace")

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if it has not drained in time."""
        await self.child.stop()

    async def kill(self) -> None:
        """SIGKILL of the parent process and of what is left of its workers."""
        await self.child.kill()

    async def start(self) -> None:
        """Start it again, on the same ports and data."""
        await self.child.start()


async def start_edge(directory: Path, flags: dict[str, object], environment: dict[str, str]) -> Edge:
    """Start `smartedu serve` and return when all its workers serve.

    flags: as on the command line, with underscores (`memory="64MiB"`); True for a bare flag, None to leave a default
    out, a tuple for repeated ones. Raises StartError with the end of its log.
    """
    url, admin = f"{LOOPBACK}:{free_port()}", f"{LOOPBACK}:{free_port()}"
    data_dir = directory / "edge"
    defaults: dict[str, object] = {
        "listen": url,
        "admin": admin,
        "data_dir": data_dir,
        "node": "test",
        "workers": 1,
        "memory": "64MiB",
        "drain_s": 5,
    }
    given = defaults | flags
    url, admin, data_dir = _first(given["listen"]), str(given["admin"]), Path(str(given["data_dir"]))

    async def ready() -> bool:
        # A worker's socket is there before it serves: what it has missed comes first.
        told = {int(pid) for pid in _SERVES.findall(child.program.log.read_text(errors="replace"))}
        serving = told.intersection(children(child.pid or 0))
        return len(serving) >= int(str(given["workers"] or 1)) and await http_status(f"http://{admin}/healthz") == 200

    program = Program(
        name="edge",
        argv=(smartedu(), "serve", *_arguments(given)),
        env=clean_environment() | environment,
        cwd=directory,
        log=directory / "edge.log",
        ready=ready,
        ready_within_s=READY_WITHIN_S,
        stop_within_s=STOP_WITHIN_S,
        orphan_signal=signal.SIGTERM,
    )
    child = Child(program, print)
    await child.start()
    scheme = "https" if given.get("tls_cert") else "http"
    return Edge(f"{scheme}://{url}", f"http://{admin}", data_dir, child)


def smartedu() -> str:
    """The command of the environment that the tests run in."""
    found = shutil.which("smartedu", path=sysconfig.get_path("scripts"))
    if found is None:
        raise FileNotFoundError("the command `smartedu` is not installed beside this Python; run `make install`")
    return found


def clean_environment() -> dict[str, str]:
    """Ours without settings that would leak into the node."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SMARTEDU_"))}


def _first(value: object) -> str:
    return str(value[0] if isinstance(value, tuple) else value)


def _arguments(flags: dict[str, object]) -> list[str]:
    arguments = []
    for name, value in flags.items():
        flag = "--" + name.replace("_", "-")
        for one in value if isinstance(value, tuple) else (value,):
            if one is True:
                arguments.append(flag)
            elif one is not None and one is not False:
                arguments.append(f"{flag}={one}")
    return arguments
