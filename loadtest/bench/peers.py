"""Installs the peers that are packages of Debian: `python -m loadtest.bench.peers`, before the benchmark.

Only where that is possible, as root and with apt; everywhere else the benchmark measures what it finds. The packages
would start their servers at once, on ports of their own: that is forbidden while they are installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from loadtest.bench import nginx, varnish

POLICY = Path("/usr/sbin/policy-rc.d")
"""Asked by Debian's packages whether a server may be started; 101 says no (invoke-rc.d(8))."""
INSTALL_WITHIN_S = 600.0


def missing() -> list[str]:
    """Names of the packages whose programs are not there."""
    found = {"nginx": nginx.command(), "varnish": varnish.command()}
    return [name for name, program in found.items() if program is None]


def install(packages: Sequence[str]) -> None:
    """Install packages without starting anything. Raises OSError, subprocess.SubprocessError."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with _nothing_started():
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            subprocess.run(
                ["apt-get", "-qq", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                check=True,
                timeout=INSTALL_WITHIN_S,
            )


@contextmanager
def _nothing_started() -> Iterator[None]:
    if POLICY.exists():  # somebody has decided already
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def provide(wanted: Sequence[str]) -> None:
    """Install these packages, or say why not; the benchmark goes on in any case."""
    if not wanted:
        return
    names = " and ".join(wanted)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.stderr.write(f"{names} would be measured too, if installed (on Debian: apt install {' '.join(wanted)})\n")
        return
    sys.stderr.write(f"installing {names} to be measured beside the edge\n")
    try:
        install(wanted)
    except (OSError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"going on without {names}: {error}\n")


if __name__ == "__main__":
    provide(missing())
