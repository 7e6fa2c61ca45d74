"""Generated secrets, kept in files that only their owner can read."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path


class DamagedError(Exception):
    """A file does not hold what was once written into it. The message names it."""


@dataclass(frozen=True, slots=True)
class AccessKey:
    """The two halves of an S3 identity."""

    id: str
    secret: str = field(repr=False)


def password(file: Path) -> str:
    """The password kept in `file`; made on first use. 192 random bits, safe inside a URL."""
    if not file.exists():
        write_private(file, secrets.token_urlsafe(24))
    return file.read_text()


def access_key(file: Path) -> AccessKey:
    """The S3 identity kept in `file`, a credentials file as of AWS; made on first use. Raises DamagedError."""
    if not file.exists():
        made = AccessKey("SE" + secrets.token_hex(9).upper(), secrets.token_urlsafe(30))
        write_private(file, f"[default]\naws_access_key_id = {made.id}\naws_secret_access_key = {made.secret}\n")
    lines = file.read_text(errors="replace").splitlines()
    values = dict(line.split(" = ", 1) for line in lines if " = " in line)
    kept = [values.get(name, "") for name in ("aws_access_key_id", "aws_secret_access_key")]
    if not all(kept):
        raise DamagedError(f"{file} is damaged: it has no whole key; without the file a new key is made")
    return AccessKey(*kept)


def private_directory(directory: Path) -> None:
    """Make a directory that only its owner can enter; one that is there already stays as it is."""
    if not directory.is_dir():
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)


def write_private(file: Path, text: str) -> None:
    """Write a file of mode 0600, whole or not at all, also when the machine stops meanwhile."""
    private_directory(file.parent)
    draft = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
