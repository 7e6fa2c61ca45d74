"""A trace: which object is asked for, and of what size it is, one request after the other."""

from __future__ import annotations

import csv
import io
import math
import struct
import subprocess
import sys
import tarfile
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

_RECORD = struct.Struct("<IQIq")  # libcachesim's "oracleGeneral": time, object, size, when it is asked for again


@dataclass(frozen=True)
class Trace:
    """objects are numbered from 0; sizes in bytes, of each request, always the same for an object."""

    name: str
    objects: array[int]
    sizes: array[int]
    footprint: int = field(init=False)
    count: int = field(init=False)

    def __post_init__(self) -> None:
        once = dict(zip(self.objects, self.sizes, strict=True))
        object.__setattr__(self, "footprint", sum(once.values()))
        object.__setattr__(self, "count", len(once))

    @property
    def unit(self) -> int:
        """The largest number of bytes that all sizes are multiples of."""
        return math.gcd(*set(self.sizes))

    def write(self, path: Path) -> None:
        """As libcachesim reads it, with sizes in units: its W-TinyLFU takes memory in proportion to them."""
        unit = self.unit
        again: dict[int, int] = {}
        packed: list[bytes] = []
        for place in range(len(self.objects) - 1, -1, -1):
            number = self.objects[place]
            packed.append(_RECORD.pack(place, number + 1, self.sizes[place] // unit, again.get(number, -1)))
            again[number] = place + 1
        packed.reverse()
        path.write_bytes(b"".join(packed))


def trace(name: str, requests: Iterable[tuple[object, int]]) -> Trace:
    """Made of (what, size); a changed size is taken for the first one, as no yardstick knows changes."""
    numbers: dict[object, int] = {}
    objects, sizes, known = array("L"), array("L"), array("L")
    for what, size in requests:
        number = numbers.setdefault(what, len(numbers))
        if number == len(known):
            known.append(size)
        objects.append(number)
        sizes.append(known[number])
    return Trace(name, objects, sizes)


def download(into: Path) -> Path:
    """The source distribution of the libcachesim that is installed, about 80 MB."""
    wanted = f"libcachesim=={version('libcachesim')}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--no-binary", ":all:", "--dest", str(into), wanted], check=True)
    return next(into.glob("libcachesim-*.tar.gz"))


def real(sdist: Path) -> list[Trace]:
    """A key-value cache's million requests (Twitter, cluster 52) and a virtual machine's disk (CloudPhysics, w92)."""
    readers = {"twitter_cluster52.csv": _twitter, "cloudPhysicsIO.oracleGeneral.bin": _disk}
    found = []
    with tarfile.open(sdist) as archive:
        for member in archive:
            reader = readers.get(member.name.rpartition("/")[2])
            content = archive.extractfile(member) if reader else None
            if reader and content:
                found.append(reader(content.read()))
    return sorted(found, key=lambda one: one.name)


def _twitter(content: bytes) -> Trace:
    rows = csv.reader(io.StringIO(content.decode()), skipinitialspace=True)
    return trace("Twitter 52", ((row[1], int(row[2])) for row in rows if not row[0].startswith("#")))


def _disk(content: bytes) -> Trace:
    return trace("CloudPhysics", ((number, size) for _, number, size, _ in _RECORD.iter_unpack(content)))
