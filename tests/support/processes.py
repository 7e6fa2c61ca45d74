"""Looking at processes from outside."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def alive(pid: int) -> bool:
    """True while a process runs; a zombie does not."""
    return state(pid) not in ("", "Z", "X")


def state(pid: int) -> str:
    """The state letter of a process, '' when there is none."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def children(pid: int) -> list[int]:
    """Process ids of the living direct children."""
    with suppress(OSError):
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [child for child in map(int, found) if alive(child)]
    return []


def descendants(pid: int) -> list[int]:
    """Process ids of living children, grandchildren and so on."""
    direct = children(pid)
    return direct + [below for child in direct for below in descendants(child)]


def environment(pid: int) -> dict[str, str]:
    """The environment a process was started with."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def command_line(pid: int) -> str:
    """The arguments of a process, separated by spaces, as anybody on the machine can see them."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def in_group_of(leader: int) -> list[int]:
    """Process ids of the living members of a process group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == leader and fields[0] not in "ZX":
                    found.append(int(entry.name))
    return found


def most_resident_mib(pid: int) -> float:
    """The most memory that a process has held at any time, MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def written_share(pid: int) -> float:
    """The share of its resident memory that a process has written to, and so shares with nobody."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return kib["Private_Dirty"] / kib["Rss"]
