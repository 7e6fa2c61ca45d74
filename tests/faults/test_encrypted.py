"""HTTPS of a running node: what it speaks, sessions that any worker resumes, certificates renewed under load."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from tests.conftest import StartEdge
from tests.support.edges import Edge
from tests.support.origin import Script, ScriptedOrigin
from tests.support.waiting import eventually

BODY = hashlib.shake_256(b"encrypted").digest(1_500_000)
HOST = "127.0.0.1"


@dataclass
class Certificates:
    """An authority, and files that a node takes its certificate from."""

    directory: Path
    authority: trustme.CA

    @property
    def flags(self) -> dict[str, object]:
        return {"tls_cert": self.directory / "cert.pem", "tls_key": self.directory / "key.pem"}

    def renew(self) -> bytes:
        """Write a new certificate; its DER."""
        issued = self.authority.issue_cert(HOST)
        (self.directory / "cert.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        (self.directory / "key.pem").write_bytes(issued.private_key_pem.bytes())
        return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())

    def context(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """A client's that trusts the authority."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        context.set_alpn_protocols(["h2", "http/1.1"])
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path, trustme.CA())


@pytest.fixture
async def origin() -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin() as running:
        running.objects["/film"] = Script(BODY, etag='"1"', headers={"Cache-Control": "public, max-age=600"})
        yield running


class Connection:
    """One of a client that asks for the film."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, node: Edge, context: ssl.SSLContext) -> Connection:
        return cls(*await asyncio.open_connection(HOST, urlsplit(node.url).port, ssl=context, server_hostname=HOST))

    @property
    def tls(self) -> ssl.SSLObject:
        found = self._writer.get_extra_info("ssl_object")
        assert isinstance(found, ssl.SSLObject)
        return found

    async def film(self) -> tuple[bytes, bytes]:
        """Head and body."""
        self._writer.write(b"GET /film HTTP/1.1\r\nHost: edge.test\r\n\r\n")
        head = await self._reader.readuntil(b"\r\n\r\n")
        return head, await self._reader.readexactly(len(BODY))

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@pytest.mark.parametrize("transport", ["uvloop", "aiofastnet"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_bodies_arrive_whole_by_either_transport_and_version(
    edge: StartEdge, origin: ScriptedOrigin, certificates: Certificates, transport: str, version: ssl.TLSVersion
) -> None:
    certificates.renew()
    node = await edge(origin=origin.url, transport=transport, **certificates.flags)
    client = await Connection.open(node, certificates.context(version))
    heads = []
    for _ in range(4):
        head, body = await client.film()
        assert body == BODY
        heads.append(head)
    assert b"; hit" in heads[-1]
    assert client.tls.selected_alpn_protocol() == "http/1.1"
    cipher = client.tls.cipher()
    assert cipher is not None
    assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]
    await client.close()


async def test_old_versions_are_refused(edge: StartEdge, origin: ScriptedOrigin, certificates: Certificates) -> None:
    certificates.renew()
    node = await edge(origin=origin.url, **certificates.flags)
    context = certificates.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await Connection.open(node, context)


def resume(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool]:
    """One connection with a request on it: its session, and whether it was resumed. Blocks."""
    with (
        socket.create_connection((HOST, port)) as plain,
        context.wrap_socket(plain, server_hostname=HOST, session=session) as encrypted,
    ):
        encrypted.sendall(b"GET /healthz HTTP/1.1\r\nHost: edge.test\r\n\r\n")
        assert encrypted.recv(65536).startswith(b"HTTP/1.1 200 ")
        return encrypted.session, bool(encrypted.session_reused)


async def test_any_worker_resumes_a_session_that_another_began(
    edge: StartEdge, origin: ScriptedOrigin, certificates: Certificates
) -> None:
    certificates.renew()
    node = await edge(origin=origin.url, workers=3, **certificates.flags)
    context = certificates.context(ssl.TLSVersion.TLSv1_2)
    port = urlsplit(node.url).port
    assert port is not None
    session, _ = await asyncio.to_thread(resume, port, context, None)
    # New connections are spread over the workers by the kernel: of so many, all three have some.
    again = [await asyncio.to_thread(resume, port, context, session) for _ in range(30)]
    assert all(resumed for _, resumed in again)


async def test_a_new_certificate_is_taken_under_load_without_a_failed_request(
    edge: StartEdge, origin: ScriptedOrigin, certificates: Certificates
) -> None:
    old = certificates.renew()
    node = await edge(origin=origin.url, workers=2, **certificates.flags)
    context = certificates.context()
    results: Counter[str] = Counter()
    done = asyncio.Event()

    async def ask() -> None:
        while not done.is_set():
            client = await Connection.open(node, context)
            results["new" if client.tls.getpeercert(binary_form=True) != old else "old"] += 1
            for _ in range(3):
                head, body = await client.film()
                results["whole" if body == BODY and head.startswith(b"HTTP/1.1 200 ") else "wrong"] += 1
                if b"Connection: close" in head:
                    break
            await client.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(ask())
        await eventually(lambda: results["old"] >= 4)
        certificates.renew()
        os.kill(node.pid, signal.SIGHUP)
        await eventually(lambda: results["new"] >= 8, within_s=30)
        done.set()
    assert results["wrong"] == 0
    assert results["whole"] > 0


async def test_a_certificate_that_cannot_be_used_changes_nothing_at_a_reload(
    edge: StartEdge, origin: ScriptedOrigin, certificates: Certificates
) -> None:
    old = certificates.renew()
    node = await edge(origin=origin.url, **certificates.flags)
    (certificates.directory / "cert.pem").write_text("no certificate")
    before = node.worker_pids()
    os.kill(node.pid, signal.SIGHUP)
    await eventually(lambda: "reload refused, the settings stay as they were: tls_cert" in node.logs())
    client = await Connection.open(node, certificates.context())
    assert client.tls.getpeercert(binary_form=True) == old
    assert (await client.film())[1] == BODY
    await client.close()
    assert node.worker_pids() == before
