"""Captions as WebVTT, the one form browsers read; SubRip files are turned into it."""

from __future__ import annotations

import re
from pathlib import Path

from origin.errors import WrongInputError

_SRT_TIME = re.compile(r"(\d{1,2}:\d{2}:\d{2}),(\d{3})")
_TIMING = re.compile(r"^(\d+:)?\d{1,2}:\d{2}\.\d{3}\s+-->\s+(\d+:)?\d{1,2}:\d{2}\.\d{3}", re.MULTILINE)
MAX_BYTES = 4 * 1024 * 1024


def read_captions(path: Path) -> bytes:
    """The WebVTT text of a .vtt or .srt file, as UTF-8. Raises WrongInputError when it is neither."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise WrongInputError(f"captions {path}: larger than {MAX_BYTES >> 20} MiB")
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise WrongInputError(f"captions {path}: are not UTF-8 text") from error
    except OSError as error:
        raise WrongInputError(f"captions {path}: can't be read: {error.strerror}") from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.startswith("WEBVTT"):
        text = "WEBVTT\n\n" + _SRT_TIME.sub(r"\1.\2", text)
    if not _TIMING.search(text):
        raise WrongInputError(f"captions {path}: hold no timed line; allowed are WebVTT (.vtt) and SubRip (.srt)")
    return text.encode()
