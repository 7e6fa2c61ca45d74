"""The one error a publisher sees: a sentence that names what was wrong and what is allowed."""

from __future__ import annotations


class PublishError(Exception):
    """Publishing can't go on. The text is one line, meant for the person who typed the command."""


class WrongInputError(PublishError):
    """What was typed, or stands in a file that was named, is wrong: the same again can't succeed."""
