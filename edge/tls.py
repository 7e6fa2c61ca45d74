"""Encryption towards clients: one context for all workers of a node.

It is made by the workers' parent, before they are forked. So they share the key of the session tickets, and a client
resumes its session with whichever worker it meets next. The key is new with every reload, and never written down.
"""

from __future__ import annotations

import ssl
from pathlib import Path

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secret and authenticated. TLS 1.3 has no others."""


class CertificateError(Exception):
    """The certificate and key cannot be used; the message says why."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """For listening: TLS 1.2 and 1.3, HTTP/1.1 only, sessions resumed by tickets. Raises CertificateError.

    certificate: PEM, the server's own first and then those up to the authority's.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise CertificateError(f"{certificate} with {key}: {error}") from error
    return context
