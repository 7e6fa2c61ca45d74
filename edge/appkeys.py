"""Typed keys under which `app.py` hands the object graph to the handlers."""

from __future__ import annotations

from aiohttp import web

from edge.admin_token import AdminToken
from edge.assets import Assets
from edge.bearer import ReadToken
from edge.broadcast import Broadcast
from edge.cache.engine import Engine
from edge.catalog_view import CatalogView
from edge.counters.board import Board
from edge.counters.corrections import Corrections
from edge.counters.exported import Exports
from edge.counters.intake import Intake
from edge.sender import Senders

NODE = web.AppKey("NODE", str)
ASSETS = web.AppKey("ASSETS", Assets)
CATALOG_VIEW = web.AppKey("CATALOG_VIEW", CatalogView)
ENGINE = web.AppKey("ENGINE", Engine)
ADMIN_TOKEN = web.AppKey("ADMIN_TOKEN", AdminToken)
CORRECTIONS = web.AppKey("CORRECTIONS", Corrections)
INTAKE = web.AppKey("INTAKE", Intake)
SENDERS = web.AppKey("SENDERS", Senders)
BOARD = web.AppKey("BOARD", Board)
EXPORTS = web.AppKey("EXPORTS", Exports)
DESCRIPTION = web.AppKey("DESCRIPTION", bytes)
READ_TOKEN = web.AppKey("READ_TOKEN", ReadToken)
SUMMARIES = web.AppKey("SUMMARIES", Broadcast)
