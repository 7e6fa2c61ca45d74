"""Who sends view events and where that is, put together from the settings; the MMDB file's reader."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from pathlib import Path

import maxminddb

from config.settings import EdgeSettings
from edge.client_address import Address, networks
from edge.sender import Locate, Senders, by_proxy, by_record

log = logging.getLogger(__name__)

_ERRORS = (OSError, ValueError, maxminddb.InvalidDatabaseError)


class WrongFileError(Exception):
    """An MMDB file that cannot be read, or has no records of addresses; the message says which and why."""


class Atlas:
    """An open MMDB file, mapped into memory: replace it by renaming another one into its place, never by writing."""

    def __init__(self, path: Path) -> None:
        """Raises WrongFileError."""
        try:
            self._reader = maxminddb.open_database(path, maxminddb.MODE_AUTO)
        except _ERRORS as error:
            raise WrongFileError(f"{path}: {error}") from None
        self._path = path
        self._reads_v6 = self._reader.metadata().ip_version == 6
        self._broken = False

    def record(self, address: Address) -> object:
        """What the file says of the address, None where it says nothing."""
        if address.version == 6 and not self._reads_v6:
            return None
        try:
            return self._reader.get(address)
        except _ERRORS as error:
            if not self._broken:
                log.error("%s is damaged, viewers are counted as of unknown places: %s", self._path, error)
            self._broken = True
            return None

    def close(self) -> None:
        """Unmap it."""
        self._reader.close()


def check_atlas(settings: EdgeSettings) -> None:
    """Whether the workers will be able to read the MMDB file, if there is one. Raises WrongFileError."""
    if settings.viewer_place == "mmdb" and settings.viewer_mmdb is not None:
        Atlas(settings.viewer_mmdb).close()


def senders(settings: EdgeSettings, stack: AsyncExitStack) -> Senders:
    """Tells the senders of one worker apart.

    An MMDB file that has become unreadable since the node started leaves viewers in unknown places: they are counted.
    """
    return Senders(
        networks(settings.trusted_proxies),
        _locate(settings, stack),
        province=settings.viewer_province_header or "",
        country=settings.viewer_country_header or "",
    )


def _locate(settings: EdgeSettings, stack: AsyncExitStack) -> Locate | None:
    if settings.viewer_place == "header":
        return by_proxy
    if settings.viewer_place == "own" or settings.viewer_mmdb is None:
        return None
    try:
        atlas = Atlas(settings.viewer_mmdb)
    except WrongFileError as error:
        log.critical("viewers are counted as of unknown places: %s", error)
        return by_record(lambda _: None)
    stack.callback(atlas.close)
    return by_record(atlas.record)
