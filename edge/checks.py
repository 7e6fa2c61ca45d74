"""What is checked once, by the parent: settings that no worker could start with are told before there are any.

Whatever is wrong is a ConfigurationError: a message of one line with the key, the value and what is allowed. A reload
checks the same while the old workers serve. What breaks later is no mistake in the settings, and stops no node.
"""

from __future__ import annotations

import errno
import ssl
import tempfile
from pathlib import Path
from threading import Thread

from redis.exceptions import RedisError

from config.settings import ConfigurationError, EdgeSettings
from edge import access_log, redis_clients
from edge.assembly.placing import WrongFileError, check_atlas
from edge.bearer import secret_in
from edge.tls import CertificateError, server_context
from origin.pool import tls_context
from origin.workplace import MISPLACED

# No directory can be made or written at a place like this; all else is said by a disk that is full or fails.
_MISPLACED = frozenset({*MISPLACED, errno.ENOENT, errno.EPERM, errno.ELOOP})
_DISK_WITHIN_S = 5.0


def check(settings: EdgeSettings, before: EdgeSettings | None = None) -> ssl.SSLContext | None:
    """Reads once what the workers will read, so that what is wrong with it is known before there are any, or while the
    old ones serve. Raises ConfigurationError. Returns what encrypts the public listeners.

    before: the settings in force. Their disk is not tried again: it may have failed since, or hang.
    """
    _check_tokens(settings)
    _check_atlas(settings)
    _check_authorities(settings)
    _check_redis(settings)
    _check_access_log(settings)
    if before is None or settings.disk != before.disk:
        _check_disk(settings)
    return _tls(settings)


def _check_authorities(settings: EdgeSettings) -> None:
    if settings.origin_ca is not None:
        try:
            tls_context(settings.origin_ca)
        except OSError as error:  # ssl's own errors, too
            raise ConfigurationError(
                f"origin_ca: {str(settings.origin_ca)!r}: {error}; allowed: a file of certificates (PEM)"
            ) from None


def _check_redis(settings: EdgeSettings) -> None:
    """Clients are made of the addresses, which connects to nothing: an address may ask for what they do not know."""
    for key in ("redis", "counters_redis"):
        url = getattr(settings, key)
        try:
            if url is not None:
                redis_clients.open_client(url.get_secret_value(), timeout_s=1.0, connections=1)
        except (ValueError, TypeError, RedisError) as error:
            raise ConfigurationError(f"{key}: {error}; allowed: a Redis URL with options of redis-py") from None


def _check_tokens(settings: EdgeSettings) -> None:
    for key in ("admin_token_file", "counts_read_token_file"):
        file = getattr(settings, key)
        try:
            if file is not None:
                secret_in(file)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{key}: {error}") from None


def _check_atlas(settings: EdgeSettings) -> None:
    try:
        check_atlas(settings)
    except WrongFileError as error:
        raise ConfigurationError(f"viewer_mmdb: {error}") from None


def _check_access_log(settings: EdgeSettings) -> None:
    if settings.access_log == "off":
        return
    try:
        access_log.check(settings.access_log)
    except OSError as error:
        raise ConfigurationError(
            f"access_log: {settings.access_log!r} cannot be written ({error.strerror}); "
            "allowed: off, - or a file that can be written"
        ) from None


def _check_disk(settings: EdgeSettings) -> None:
    """A disk that is full, fails or hangs stops no node: the tier can do without. A directory that can't be is a
    mistake."""
    if settings.disk is None:
        return
    found: list[OSError] = []
    trial = Thread(target=_try_disk, args=(settings.disk, found), daemon=True)
    trial.start()
    trial.join(_DISK_WITHIN_S)
    if found and found[0].errno in _MISPLACED:
        raise ConfigurationError(
            f"disk: {str(settings.disk)!r} cannot be used ({found[0].strerror}); "
            "allowed: a directory that can be made and written"
        )


def _try_disk(path: Path, found: list[OSError]) -> None:
    try:
        _try_directory(path)
    except OSError as error:
        found.append(error)


def _try_directory(path: Path) -> None:
    """Make it and what is missing above it, for this user alone, and write there. Raises OSError."""
    for directory in (*reversed(path.parents), path):
        if not directory.exists():
            directory.mkdir(mode=0o700, exist_ok=True)
    try:
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        if error.errno != errno.EROFS:  # the kernel makes a disk that fails read-only, and what is there can be read
            raise


def _tls(settings: EdgeSettings) -> ssl.SSLContext | None:
    """Raises ConfigurationError."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    try:
        return server_context(settings.tls_cert, settings.tls_key)
    except CertificateError as error:
        raise ConfigurationError(f"tls_cert: {error}; allowed: a certificate in PEM with its key in tls_key") from None
