"""The interface, described (OpenAPI 3.1): views in, counts out. Served as `/v1/openapi.json`; where the site is on,
shown as `/docs`.

Made of the limits and names that the code itself goes by. A test walks the routes, and holds real answers against the
schemas (`schemas.py`); these allow no member that is not named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

import orjson

from edge.counters.event import MAX_BODY_BYTES, MAX_EVENTS
from edge.counters.parquet import Format
from edge.counters.question import (
    ADDITIVE,
    BY,
    DEFAULT_TOP,
    MAX_IDS,
    MAX_OFFSET,
    MAX_POINTS,
    MAX_TOP,
    RANKED,
    TAGGED,
    Metric,
    Step,
)
from edge.schemas import COUNT, RESOURCE, names_of, ref, schemas

Json = dict[str, Any]
_VERSION: Final = version("smartedu-edge")  # read here: later it would be on the loop
PATH: Final = "/v1/openapi.json"
_TOKEN: Final = {
    "type": "http",
    "scheme": "bearer",
    "description": "Needed where the node was given `counts.read_token_file`.",
}


def document() -> Json:
    """The whole description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "smartedu-edge",
            "version": _VERSION,
            "summary": "View events in, exact counts out.",
            "description": (
                "Every accepted view event is counted exactly once, and can be read about a second later. All times "
                "are ISO 8601 with offset; days are days of UTC+8. Errors are problem documents (RFC 9457)."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "x-title-zh": "观看事件与计数接口",
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "views", "description": "View events", "x-zh": "观看事件"},
            {"name": "counts", "description": "Counts", "x-zh": "观看计数"},
            {"name": "node", "description": "The node itself", "x-zh": "节点"},
        ],
        "paths": _views() | _counts() | _node(),
        "components": {
            "schemas": schemas(),
            "securitySchemes": {"token": _TOKEN},
        },
    }


def as_json() -> bytes:
    """The description as it is served."""
    return orjson.dumps(document())


def _views() -> Json:
    return {
        "/v1/views": {
            "post": {
                "operationId": "postViews",
                "tags": ["views"],
                "summary": "Send view events",
                "x-zh": "上报观看事件",
                "description": (
                    f"One event, or up to {MAX_EVENTS} as `events`, in at most {MAX_BODY_BYTES} bytes. 202 is a "
                    "promise: what was accepted is on disk and will be counted exactly once, whatever is killed "
                    "afterwards. An event sent again with the same id within 10 minutes counts once. text/plain is "
                    "read as JSON, for `sendBeacon`."
                ),
                "requestBody": {
                    "required": True,
                    "content": {
                        kind: {"schema": {"oneOf": [ref("Event"), ref("Events")]}}
                        for kind in ("application/json", "text/plain")
                    },
                },
                "responses": {
                    "202": _answer("Receipt", "What was accepted, and what was refused for which reason."),
                    **_problems(
                        {
                            400: "The body is not JSON, or no events.",
                            408: "The body did not arrive in time.",
                            413: "Too many bytes, or too many events.",
                            415: "Another content type.",
                            429: "More events than one client may send; `Retry-After` says when to come again.",
                            503: "The promise can't be given now; send the same events again.",
                            504: "Whether the events were taken is not known; send the same ones again.",
                        }
                    ),
                },
            },
            "options": {
                "operationId": "mayPostViews",
                "tags": ["views"],
                "summary": "Ask whether a page of another site may send events",
                "x-zh": "跨域预检",
                "responses": {"204": {"description": "It may."}},
            },
        }
    }


def _counts() -> Json:
    return (
        _figures()
        | _rollups()
        | _series()
        | {
            "/v1/counts/corrections": _get(
                "getCorrections",
                "Corrections",
                "更正记录",
                "Signed entries that put counts right, the newest first.",
                "Corrections",
                [*_paging(), _province()],
            ),
            "/v1/counts/stream": _stream(),
            "/v1/counts/export": _export(),
        }
    )


def _figures() -> Json:
    """Of resources, and of everything."""
    return {
        "/v1/counts/resources/{id}": _get(
            "getResource",
            "One resource",
            "单个资源",
            "Zeros for a resource that was not seen yet.",
            "Resource",
            [_in_path("id", RESOURCE, "The resource.")],
        ),
        "/v1/counts/resources": _get(
            "getResources",
            "Several resources",
            "多个资源",
            "In the order asked.",
            "Resources",
            [_asked("ids", {"type": "string"}, f"1 to {MAX_IDS} resources, separated by commas.", required=True)],
        ),
        "/v1/counts/summary": _get(
            "getSummary",
            "The headline figures",
            "汇总数据",
            "All provinces that the node can be asked for.",
            "Summary",
            [],
        ),
    }


def _rollups() -> Json:
    """Totals and rankings."""
    return {
        "/v1/counts/by/{dimension}": _get(
            "getTotals",
            "Totals by a dimension",
            "按维度汇总",
            "The rows add up to the total: what belongs nowhere is `unknown`. Without `metric`, all that the dimension "
            "has. Countries are counted as a whole, and combine with provinces and days only. Unique viewers are by "
            "province.",
            "Totals",
            [_in_path("dimension", names_of(BY), "What the totals are by."), _metric(Metric), *_filters()],
            gone=True,
        ),
        "/v1/counts/top": _get(
            "getTop",
            "A ranking, exact",
            "排行",
            "Highest first, of equals by id.",
            "Ranking",
            [
                _asked("dimension", names_of(RANKED) | {"default": "resource"}, "What is ranked."),
                _metric(ADDITIVE, "views"),
                *_paging(),
                *_filters(),
            ],
            gone=True,
        ),
    }


def _series() -> Json:
    return {
        "/v1/counts/series": _get(
            "getSeries",
            "A time series",
            "时间序列",
            f"By event time in UTC+8, zeros included; at most {MAX_POINTS} points, fewer where much has to be read.",
            "Series",
            [
                _metric(ADDITIVE, "views"),
                _asked("step", names_of(Step) | {"default": "hour"}, "How finely it is cut."),
                _asked("from", {"type": "string"}, "A time (without offset: UTC+8) or a date; in the first point."),
                _asked(
                    "to",
                    {"type": "string"},
                    "A time, rounded up to a whole step and not included, or a date, which is. Default: now. Or use "
                    "`day`.",
                ),
                _asked("resource", RESOURCE, "Only this resource."),
                *_filters(),
            ],
            gone=True,
        ),
    }


def _stream() -> Json:
    operation: Json = _get(
        "followSummary", "The summary, once a second", "实时汇总", "Server-sent events.", "Summary", []
    )
    operation["get"]["responses"]["200"] = {
        "description": "Each event's data is a summary. A comment stands for one that can't be read now.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
    return operation


def _export() -> Json:
    operation: Json = _get(
        "exportDay",
        "A closed day, exported",
        "导出已结束的一天",
        "All provinces' counts by resource and hour.",
        "Summary",
        [
            _asked("day", {"type": "string", "format": "date"}, "The day, in UTC+8.", required=True),
            _asked("format", names_of(Format) | {"default": "csv"}, "The file's format."),
        ],
    )
    operation["get"]["responses"] |= {
        "200": {
            "description": "The file.",
            "content": {
                "text/csv": {"schema": {"type": "string"}},
                "application/vnd.apache.parquet": {},
                "application/json": {"schema": {}},
            },
        },
        **_problems({404: "The day is not over, not closed, or before everything that was counted."}),
    }
    return operation


def _node() -> Json:
    return {
        "/healthz": {
            "get": {
                "operationId": "getHealth",
                "tags": ["node"],
                "summary": "Whether the node is alive",
                "x-zh": "存活检查",
                "responses": {"200": {"description": "It is.", "content": {"application/json": {"schema": {}}}}},
            }
        },
        PATH: {
            "get": {
                "operationId": "getDescription",
                "tags": ["node"],
                "summary": "This description",
                "x-zh": "本接口说明",
                "responses": {
                    "200": {
                        "description": "OpenAPI 3.1.",
                        "content": {"application/json": {"schema": {"type": "object"}}},
                    }
                },
            }
        },
    }


def _get(
    name: str, summary: str, zh: str, description: str, schema: str, parameters: Sequence[Json], *, gone: bool = False
) -> Json:
    """A question about counts."""
    problems = {
        400: "The question can't be answered; `detail` says what is allowed.",
        401: "The node's token for reading counts is missing or wrong.",
        503: "The counts can't be read now, or the node has none.",
    }
    if gone:
        problems[410] = "The details of a day are in history only."
    return {
        "get": {
            "operationId": name,
            "tags": ["counts"],
            "summary": summary,
            "x-zh": zh,
            "description": description,
            "security": [{}, {"token": []}],
            "parameters": list(parameters),
            "responses": {"200": _answer(schema, summary + "."), **_problems(problems)},
        }
    }


def _answer(schema: str, description: str) -> Json:
    return {"description": description, "content": {"application/json": {"schema": ref(schema)}}}


def _problems(described: Mapping[int, str]) -> Json:
    content = {"application/problem+json": {"schema": ref("Problem")}}
    return {str(status): {"description": text, "content": content} for status, text in sorted(described.items())}


def _in_path(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _asked(name: str, schema: Json, description: str, *, required: bool = False) -> Json:
    return {"name": name, "in": "query", "required": required, "description": description, "schema": schema}


def _metric(allowed: Iterable[Metric], default: str | None = None) -> Json:
    schema = names_of(allowed) | ({"default": default} if default else {})
    return _asked("metric", schema, "What is counted. Visits have no resource.")


def _province() -> Json:
    schema = {"type": "string", "pattern": r"^\d\d(,\d\d)*$"}
    return _asked("province", schema, "Two-digit codes, separated by commas; those that the node has counts of.")


def _filters() -> list[Json]:
    tag = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"}
    return [
        _asked("day", {"type": "string"}, "Only this day of UTC+8: YYYY-MM-DD, or `today`."),
        _province(),
        _asked("country", {"type": "string", "pattern": "^[A-Z]{2}$"}, "ISO 3166-1 alpha-2; ZZ: not known."),
        *(
            _asked(one.value, tag, f"Only resources of this {one.value}; `unknown` for those of none.")
            for one in TAGGED
        ),
    ]


def _paging() -> list[Json]:
    return [
        _asked("limit", COUNT | {"minimum": 1, "maximum": MAX_TOP, "default": DEFAULT_TOP}, "How many at most."),
        _asked("offset", COUNT | {"maximum": MAX_OFFSET, "default": 0}, "How many are passed over."),
    ]
