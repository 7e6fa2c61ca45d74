"""A peer: Varnish, caching the benchmark's origin in memory."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from loadtest.bench import nginx

STORAGE = "2G"
# What it answers is told apart as the edge's answers are.
CONFIGURATION = """\
vcl 4.1;
backend origin {{ .host = "127.0.0.1"; .port = "{origin}"; }}
sub vcl_deliver {{
    if (obj.hits > 0) {{ set resp.http.Cache-Status = "varnish; hit"; }}
    else {{ set resp.http.Cache-Status = "varnish; fwd=miss"; }}
}}
"""


def command() -> str | None:
    """varnishd on PATH, or where Debian puts it; it needs a C compiler, too."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
    return shutil.which("varnishd", path=path) if shutil.which("cc") or shutil.which("gcc") else None


def version(binary: str) -> str:
    """For example "7.1.1"."""
    told = subprocess.run([binary, "-V"], capture_output=True, text=True, check=True, timeout=10).stderr
    found = re.search(r"varnish-([0-9.]+)", told)
    return found[1] if found else "?"


def arguments(binary: str, directory: Path, port: int, origin: int) -> list[str]:
    """How to start it; writes its configuration into `directory`. It stays in the foreground and is its own user."""
    configuration = directory / "bench.vcl"
    configuration.write_text(CONFIGURATION.format(origin=origin))
    return [
        *(binary, "-F", "-j", "none", "-T", "none", "-n", str(directory / "varnish")),
        *("-a", f"{nginx.HOST}:{port}", "-s", f"malloc,{STORAGE}", "-f", str(configuration)),
    ]
