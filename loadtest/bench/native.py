"""A floor in C: floor.c, compiled for the run where there is a compiler."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from loadtest.bench import replica
from loadtest.bench.floor import response

SOURCE = Path(__file__).with_name("floor.c")
COMPILED_WITHIN_S = 60.0


def compiler() -> str | None:
    """A C compiler on PATH."""
    return shutil.which("cc") or shutil.which("gcc")


def version(compiler: str) -> str:
    """For example "12.2.0"."""
    argv = [compiler, "-dumpfullversion", "-dumpversion"]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def build(compiler: str, directory: Path) -> Path:
    """Compile it into the directory; returns the program. Raises OSError, subprocess.SubprocessError."""
    program = directory / "floor"
    argv = [compiler, "-O2", "-Wall", "-o", str(program), str(SOURCE)]
    subprocess.run(argv, check=True, capture_output=True, text=True, timeout=COMPILED_WITHIN_S)
    return program


def arguments(program: Path, directory: Path) -> list[str]:
    """How to start it with the replies noted in the directory; writes each whole answer into a file there."""
    argv = [str(program)]
    for number, reply in enumerate(replica.read(directory)):
        file = directory / f"answer-{number}"
        file.write_bytes(response(reply, replica.body_file(directory, reply).read_bytes()))
        argv += [reply.path, str(file)]
    return argv
