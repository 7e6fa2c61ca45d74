"""A certificate for one run, and what the load and the servers must agree on, so that both sides encrypt alike."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme

from loadtest.bench.cases import HOST
from loadtest.bench.client import STALL_S, Address

CIPHER = "TLS_AES_128_GCM_SHA256"
# OpenSSL reads it in every server that we start. Python has no call for the ciphers of TLS 1.3 before 3.15.
_OPENSSL = f"""\
openssl_conf = bench
[bench]
ssl_conf = ssl
[ssl]
system_default = alike
[alike]
MinProtocol = TLSv1.3
Ciphersuites = {CIPHER}
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a server shows and what the load trusts. environment: for whoever serves."""

    certificate: Path
    key: Path
    environment: dict[str, str]
    client: ssl.SSLContext


def issue(directory: Path, *addresses: str) -> Identity:
    """Write a new certificate for these addresses, its key and OpenSSL's configuration into the directory."""
    authority = trustme.CA()
    issued = authority.issue_cert(HOST, *addresses)
    certificate, key, settings = (directory / name for name in ("chain.pem", "key.pem", "openssl.cnf"))
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    settings.write_text(_OPENSSL)
    client = ssl.create_default_context()
    client.minimum_version = ssl.TLSVersion.TLSv1_3
    authority.configure_trust(client)
    return Identity(certificate, key, {"OPENSSL_CONF": str(settings)}, client)


def agreed(address: Address, client: ssl.SSLContext) -> str:
    """What a server there agrees on, for example "TLSv1.3, TLS_AES_128_GCM_SHA256". Raises OSError."""
    with (
        socket.create_connection(address, STALL_S) as plain,
        client.wrap_socket(plain, server_hostname=address[0]) as secure,
    ):
        cipher = secure.cipher()
        return f"{secure.version()}, {cipher[0] if cipher else '?'}"
