"""A peer: nginx serving the same bytes as static files, with the same headers, one worker, tuned as its manual says."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

from loadtest.bench import replica

# nginx makes these itself for a file.
OWN_FIELDS = frozenset({"etag", "last-modified", "accept-ranges"})
CONFIGURATION = """\
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
{user}
events {{ worker_connections 16384; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    open_file_cache max=1000 inactive=1h;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {root};
{locations}
    }}
}}
"""


def command() -> str | None:
    """nginx on PATH, or where Debian puts it."""
    return shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))


def version(binary: str) -> str:
    """For example "1.22.1"."""
    told = subprocess.run([binary, "-v"], capture_output=True, text=True, check=True, timeout=10).stderr
    return told.rpartition("/")[2].split()[0]


def configure(directory: Path, port: int) -> Path:
    """Write the configuration for the replies noted in `directory`; returns its file."""
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    locations = "\n".join(_location(reply) for reply in replica.read(directory))
    file = directory / "nginx.conf"
    file.write_text(
        CONFIGURATION.format(
            directory=directory, port=port, root=directory / replica.ROOT, user=user, locations=locations
        )
    )
    return file


def _location(reply: replica.Reply) -> str:
    fields = " ".join(
        f"add_header {name} {_quoted(value)};" for name, value in reply.fields if name.lower() not in OWN_FIELDS
    )
    return f"        location = {reply.path} {{ types {{}} default_type {_quoted(reply.content_type)}; {fields} }}"


def _quoted(value: str) -> str:
    """A string of nginx's configuration. It has no way to write a dollar sign: one would begin a variable."""
    return '"' + re.sub(r'(["\\])', r"\\\1", value).replace("$", "") + '"'
