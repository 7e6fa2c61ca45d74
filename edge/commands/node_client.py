"""A node asked over HTTP: the options that say where and who asks, and its answer or one clear line.

What the command line says wrongly is exit status 2, also where only the node can tell; all else that keeps an answer
from coming is 1. Whatever listens at the address may answer anything, or half of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, urlsplit

import click

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from urllib.error import HTTPError

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_ADMIN = "http://127.0.0.1:9090"
ALLOWED = "http://HOST[:PORT] or https://HOST[:PORT]"
Command = TypeVar("Command", bound=Callable[..., Any])


def located(command: Command) -> Command:
    """Adds the options that say where counts are read: --url, --token-file."""
    command = _token_file("SMARTEDU_COUNTS_READ_TOKEN_FILE", "File with the bearer token for reading counts.")(command)
    return _located_by("--url", DEFAULT_URL, "SMARTEDU_URL", "Public address of a node.")(command)


def administered(which: str) -> Callable[[Command], Command]:
    """Adds the options that say where an admin listener is: --admin, --token-file. which: node it is to be of."""

    def add(command: Command) -> Command:
        command = _token_file("SMARTEDU_ADMIN_TOKEN_FILE", "File with the bearer token of the admin listener.")(command)
        return _located_by("--admin", DEFAULT_ADMIN, "SMARTEDU_ADMIN_URL", f"Admin address of {which}.")(command)

    return add


def _located_by(flag: str, default: str, variable: str, meaning: str) -> Callable[[Command], Command]:
    return click.option(flag, default=default, show_default=True, envvar=variable, callback=_address, help=meaning)


def _token_file(variable: str, meaning: str) -> Callable[[Command], Command]:
    kind = click.Path(path_type=Path, dir_okay=False, exists=True)
    return click.option("--token-file", type=kind, envvar=variable, help=meaning)


def _address(_: click.Context, option: click.Parameter, value: str) -> str:
    return checked_address(option.opts[0], value)


def checked_address(flag: str, url: str) -> str:
    """A node's address without a slash at its end; raises UsageError naming the flag where it is none."""
    try:
        parts = urlsplit(url)
        good = _is_http(parts) and all("!" <= char <= "~" for char in url)
    except ValueError:  # a bracket or a port that is none
        good = False
    if not good:
        raise click.UsageError(f"{flag} {url!r} is not an address; allowed: {ALLOWED}")
    return url.rstrip("/")


def _is_http(parts: SplitResult) -> bool:
    extra = parts.username or parts.password or parts.query or parts.fragment
    return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not extra


def document_of(
    address: str,
    token_file: Path | None,
    members: Iterable[str],
    *,
    timeout_s: float,
    order: dict[str, object] | None = None,
) -> dict[str, Any]:
    """The document at an address, or what is answered to an order that is posted there; members: those it must have."""
    from http.client import HTTPException

    try:
        with opened(address, token_file, timeout_s, order) as answer:
            document = json.load(answer)
    except ValueError as error:
        raise _stranger(address, f"it is no JSON: {error}") from None
    except (HTTPException, OSError) as error:
        raise _unasked(address, error) from None
    if not isinstance(document, dict):
        raise _stranger(address, "it is no JSON object")
    if missing := [name for name in members if name not in document]:
        raise _stranger(address, f"it has no {missing[0]!r}")
    return document


def opened(
    address: str, token_file: Path | None, timeout_s: float, order: dict[str, object] | None = None
) -> HTTPResponse:
    """The answer, to be read, which may raise HTTPException and OSError; a refusal is told as it says itself."""
    from http.client import BadStatusLine, HTTPException, RemoteDisconnected
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    body = json.dumps(order).encode() if order is not None else None
    fields = {"Content-Type": "application/json"} if order is not None else {}
    try:
        if token_file is not None:
            fields["Authorization"] = f"Bearer {_token(token_file)}"
        answer: HTTPResponse = urlopen(Request(address, body, fields), timeout=timeout_s)  # noqa: S310  http(s) only
    except HTTPError as error:
        raise _refusal(address, error) from None
    except RemoteDisconnected as error:
        raise _unasked(address, error) from None
    except BadStatusLine as error:
        raise _stranger(address, f"it is no HTTP: {error!s:.80}") from None
    except (HTTPException, OSError, ValueError) as error:
        raise _unasked(address, error) from None
    return answer


def _token(file: Path) -> str:
    """As a node reads it, byte for byte. Raises UsageError, without what is in the file."""
    try:
        token = file.read_bytes().strip()
    except OSError as error:
        raise click.UsageError(f"--token-file {str(file)!r} cannot be read: {error.strerror}") from None
    if not token or any(byte < 0x20 or byte == 0x7F for byte in token):
        raise click.UsageError(f"--token-file {str(file)!r} holds no token; allowed: one line")
    return token.decode("latin-1")  # as fields go on the wire


def _refusal(address: str, error: HTTPError) -> click.ClickException:
    """What a problem document says, as wrong usage where it is a 400."""
    from http.client import HTTPException

    try:
        detail = _line(json.loads(error.read())["detail"])
    except (HTTPException, OSError, ValueError, KeyError, TypeError):
        detail = ""
    if error.code == 400 and detail:
        return click.UsageError(detail)
    return click.ClickException(detail or f"{address} answers {error.code} {_line(error.reason)}")


def _stranger(address: str, why: str) -> click.ClickException:
    return click.ClickException(_line(f"{address} does not answer as a node does: {why}"))


def _unasked(address: str, error: Exception) -> click.ClickException:
    reason = getattr(error, "reason", None) or str(error) or type(error).__name__
    return click.ClickException(_line(f"{address} cannot be asked: {reason}"))


def _line(text: object) -> str:
    return " ".join(str(text).split())
