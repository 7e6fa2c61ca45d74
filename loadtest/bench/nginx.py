"""Two peers: nginx serving the edge's bytes as static files, with the same headers, and nginx caching an HTTP origin.

One worker each, tuned as its manual says; the cache also without that, as it is if nothing is said.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

from loadtest.bench import replica
from loadtest.bench.tls import Identity

# nginx makes these itself for a file.
OWN_FIELDS = frozenset({"etag", "last-modified", "accept-ranges"})
HOST = "127.0.0.1"
CONFIGURATION = """\
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
{user}
events {{ worker_connections 16384; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
{tuning}
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{rest}
}}
"""
TUNING = """\
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    open_file_cache max=10000 inactive=1h;
"""
STATIC = """\
    server {{
        listen {host}:{port} backlog=4096;
        root {root};
{locations}
    }}
"""
CACHE = """\
    proxy_cache_path {directory}/cache levels=1:2 keys_zone=bench:64m max_size=4g inactive=1h use_temp_path=off;
    upstream origin {{ server 127.0.0.1:{origin}; keepalive 256; keepalive_requests 1000000000; }}
    server {{
        listen {host}:{port} {secure}backlog=4096;
{identity}
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffers 16 64k;
            proxy_max_temp_file_size 0;
            proxy_cache bench;
            proxy_cache_lock on;
            add_header Cache-Status "nginx; $upstream_cache_status";
        }}
    }}
"""

# Protocol and cipher are told to OpenSSL itself, as the edge's are.
SECURE = """\
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3;
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
    locations = "\n".join(_location(reply) for reply in replica.read(directory))
    root = directory / replica.ROOT
    return _write(directory, TUNING, STATIC.format(host=HOST, port=port, root=root, locations=locations))


def configure_cache(
    directory: Path, port: int, origin: int, identity: Identity | None = None, *, tuned: bool = True
) -> Path:
    """Write the configuration of a cache before the origin on that port; returns its file."""
    shown, secure = "", ""
    if identity:
        shown = SECURE.format(certificate=identity.certificate, key=identity.key)
        secure = "ssl "
    told = CACHE.format(host=HOST, port=port, directory=directory, origin=origin, secure=secure, identity=shown)
    return _write(directory, TUNING if tuned else "", told)


def _write(directory: Path, tuning: str, rest: str) -> Path:
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    file = directory / "nginx.conf"
    file.write_text(CONFIGURATION.format(directory=directory, user=user, tuning=tuning, rest=rest))
    return file


def _location(reply: replica.Reply) -> str:
    fields = " ".join(
        f"add_header {name} {_quoted(value)};" for name, value in reply.fields if name.lower() not in OWN_FIELDS
    )
    return f"        location = {reply.path} {{ types {{}} default_type {_quoted(reply.content_type)}; {fields} }}"


def _quoted(value: str) -> str:
    """A string of nginx's configuration. It has no way to write a dollar sign: one would begin a variable."""
    return '"' + re.sub(r'(["\\])', r"\\\1", value).replace("$", "") + '"'
