"""Typed keys under which `app.py` hands the object graph to the handlers."""

from __future__ import annotations

from aiohttp import web

NODE = web.AppKey("NODE", str)
