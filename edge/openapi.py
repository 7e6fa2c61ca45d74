"""The interface, described (OpenAPI 3.1): views in, counts out. Served as `/v1/openapi.json`, shown as `/docs`.

Made of the limits and names that the code itself goes by. A test walks the routes, and holds real answers against the
schemas; these allow no member that is not named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from importlib.metadata import version
from typing import Any, Final

import orjson

from edge.counters.event import (
    MAX_AGE_MS,
    MAX_BODY_BYTES,
    MAX_EVENTS,
    MAX_ID_CHARS,
    MAX_VIEWER_CHARS,
    MAX_WATCHED_S,
    Kind,
)
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
from edge.counters.uniques import STANDARD_ERROR

Json = dict[str, Any]
_VERSION: Final = version("smartedu-edge")  # read here: later it would be on the loop
PATH: Final = "/v1/openapi.json"
_RESOURCE: Final = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$", "examples": ["lesson-000123"]}
_COUNT: Final = {"type": "integer", "minimum": 0}
# Nothing but a correction that takes away too much makes these negative.
_AMOUNT: Final = {"type": "integer"}
_SECONDS: Final = {"type": "number"}
_TIME: Final = {"type": "string", "format": "date-time", "examples": ["2026-11-29T08:00:00.000+08:00"]}
_TIME_OR_NULL: Final = {"type": ["string", "null"], "format": "date-time"}
_NEXT: Final = {
    "type": ["string", "null"],
    "description": "Where the list goes on: a path of this node; null at the end.",
}
_CATALOG: Final = {
    "type": ["string", "null"],
    "description": "The version of the catalog that says what belongs to what; null on a node without a catalog.",
}
_LESSENED: Final = "Exact for all events accepted before complete_through."


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
            "schemas": _schemas(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Needed where the node was given `counts.read_token_file`.",
                }
            },
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
                        kind: {"schema": {"oneOf": [_ref("Event"), _ref("Events")]}}
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
    return {
        "/v1/counts/resources/{id}": _get(
            "getResource",
            "One resource",
            "单个资源",
            "Zeros for a resource that was not seen yet.",
            "Resource",
            [_in_path("id", _RESOURCE, "The resource.")],
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
        "/v1/counts/by/{dimension}": _get(
            "getTotals",
            "Totals by a dimension",
            "按维度汇总",
            "The rows add up to the total: what belongs nowhere is `unknown`. Without `metric`, all that the dimension "
            "has. Countries are counted as a whole, and combine with provinces and days only. Unique viewers are by "
            "province.",
            "Totals",
            [_in_path("dimension", _names(BY), "What the totals are by."), _metric(Metric), *_filters()],
            gone=True,
        ),
        "/v1/counts/top": _get(
            "getTop",
            "A ranking, exact",
            "排行",
            "Highest first, of equals by id.",
            "Ranking",
            [
                _asked("dimension", _names(RANKED) | {"default": "resource"}, "What is ranked."),
                _metric(ADDITIVE, "views"),
                *_paging(),
                *_filters(),
            ],
            gone=True,
        ),
        "/v1/counts/series": _get(
            "getSeries",
            "A time series",
            "时间序列",
            f"By event time in UTC+8, zeros included; at most {MAX_POINTS} points, fewer where much has to be read.",
            "Series",
            [
                _metric(ADDITIVE, "views"),
                _asked("step", _names(Step) | {"default": "hour"}, "How finely it is cut."),
                _asked("from", {"type": "string"}, "A time (without offset: UTC+8) or a date; in the first point."),
                _asked("to", {"type": "string"}, "A time, which is not included, or a date, which is. Default: now."),
                _asked("resource", _RESOURCE, "Only this resource."),
                *(one for one in _filters() if one["name"] != "day"),
            ],
            gone=True,
        ),
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
            _asked("format", _names(Format) | {"default": "csv"}, "The file's format."),
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
        **_problems({404: "The day is not over, or not in history."}),
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


def _schemas() -> Json:
    figures = {"views": _AMOUNT, "plays": _AMOUNT, "watch_seconds": _SECONDS, "uniques": _uniques()}
    amounts = {"views": _AMOUNT, "plays": _AMOUNT, "watch_seconds": _SECONDS, "visits": _AMOUNT, "uniques": _uniques()}
    names = _object({"zh": {"type": "string"}, "en": {"type": "string"}}, "What the catalog calls it.")
    row = {"id": {"type": "string"}, "name": names, **amounts, "complete_through": _TIME_OR_NULL}
    listed = {"as_of": _ref("AsOf"), "complete_through": _ref("CompleteThroughOfEach")}
    when = {"as_of": _ref("AsOf"), "complete_through": _ref("CompleteThrough")}
    return {
        "AsOf": _TIME | {"description": "When the counts were read."},
        "CompleteThrough": _TIME_OR_NULL
        | {"description": "The counts are exact for all events accepted before. Null while no writer has reported."},
        "CompleteThroughOfEach": {
            "description": "One time for all provinces in the answer, or one for each where provinces are listed.",
            "oneOf": [
                _ref("CompleteThrough"),
                {
                    "type": "object",
                    "additionalProperties": _ref("CompleteThrough"),
                    "propertyNames": {"pattern": r"^\d\d$"},
                },
            ],
        },
        "Figures": _object(figures, "Counts of a resource over some time."),
        "ResourceCounts": _object({"id": _RESOURCE, **figures, "today": _ref("Figures")}, "A resource's counts."),
        "Resource": _object({"id": _RESOURCE, **figures, "today": _ref("Figures"), **when}, _LESSENED),
        "Resources": _object({"resources": _list(_ref("ResourceCounts")), **when}, _LESSENED),
        "Summary": _object(
            {
                "views": _AMOUNT,
                "views_today": _AMOUNT,
                "views_daily_average": {"type": "number"},
                "views_daily_peak": _object(
                    {"date": {"type": ["string", "null"], "format": "date"}, "views": _AMOUNT},
                    "The day with most views.",
                ),
                "plays": _AMOUNT,
                "watch_seconds": _SECONDS,
                "visits": _AMOUNT,
                "uniques": _uniques(),
                "resources": _COUNT | {"description": "Resources seen so far."},
                "provinces": _COUNT | {"description": "Provinces with counts; the hub is none."},
                "countries": _COUNT | {"description": "Known countries with counts."},
                **when,
            },
            "The headline figures.",
        ),
        "Row": _object(row, "A value of a dimension.", required=["id"]),
        "Totals": _object(
            {
                "dimension": _names(BY),
                "by": _list(_ref("Row")),
                "standard_error": {"const": STANDARD_ERROR, "description": "Of unique viewers."},
                "catalog_version": _CATALOG,
                **listed,
            },
            _LESSENED,
            required=["dimension", "by", "as_of", "complete_through"],
        ),
        "Ranking": _object(
            {
                "dimension": _names(RANKED),
                "metric": _names(ADDITIVE),
                "total": _COUNT | {"description": "Places of the whole ranking."},
                "top": _list(_ref("Row")),
                "next": _NEXT,
                "catalog_version": _CATALOG,
                **listed,
            },
            _LESSENED,
            required=["dimension", "metric", "total", "top", "next", "as_of", "complete_through"],
        ),
        "Point": _object(
            {
                "at": {"type": "string", "format": "date-time", "description": "When the point begins."},
                **{metric.value: amounts[metric.value] for metric in ADDITIVE},
            },
            "An amount over one step.",
            required=["at"],
        ),
        "Series": _object(
            {
                "metric": _names(ADDITIVE),
                "step": _names(Step),
                "from": _TIME,
                "to": _TIME,
                "series": _list(_ref("Point")),
                "catalog_version": _CATALOG,
                **when,
            },
            _LESSENED,
            required=["metric", "step", "from", "to", "series", "as_of", "complete_through"],
        ),
        "Correction": _object(
            {
                "id": {"type": "string"},
                "kind": _names(Kind),
                "province": {"type": "string", "pattern": r"^\d\d$"},
                "country": {"type": ["string", "null"]},
                "resource": {"type": ["string", "null"]},
                "minute": _TIME,
                "amount": {"type": "number", "description": "What was added; of watch in seconds."},
                "reason": {"type": "string"},
                "accepted_at": _TIME,
            },
            "An entry that put counts right.",
        ),
        "Corrections": _object(
            {"total": _COUNT, "corrections": _list(_ref("Correction")), "next": _NEXT, **when}, "The newest first."
        ),
        "Event": {
            "type": "object",
            "description": "Something that a viewer did. Members that are not named here are passed over.",
            "properties": {
                "id": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": MAX_ID_CHARS,
                    "description": "Client-made, unique.",
                },
                "kind": _names(Kind)
                | {"description": "visit: a session began; view: opened; play: first frame; watch: more seconds seen."},
                "resource": _RESOURCE | {"description": "Left out for a visit."},
                "viewer": {"type": "string", "minLength": 1, "maxLength": MAX_VIEWER_CHARS, "description": "Opaque."},
                "at": {
                    "type": "integer",
                    "description": f"ms since the epoch; at most {MAX_AGE_MS // 3_600_000} hours ago, 60 s ahead.",
                    "examples": [1764000000000],
                },
                "watched_s": {"type": "number", "minimum": 0, "maximum": MAX_WATCHED_S},
            },
            "required": ["id", "kind", "at"],
        },
        "Events": {
            "type": "object",
            "properties": {"events": {"type": "array", "items": _ref("Event"), "maxItems": MAX_EVENTS}},
            "required": ["events"],
        },
        "Receipt": _object(
            {
                "accepted": _COUNT,
                "rejected": _list(
                    _object({"index": _COUNT, "reason": {"type": "string"}}, "An event that was refused.")
                ),
            },
            "What became of the events.",
        ),
        "Problem": {
            "type": "object",
            "description": "RFC 9457.",
            "properties": {
                "type": {"type": "string", "format": "uri-reference"},
                "title": {"type": "string"},
                "status": {"type": "integer", "minimum": 400, "maximum": 599},
                "detail": {"type": "string", "description": "What was wrong, and what is allowed."},
            },
            "required": ["type", "title", "status", "detail"],
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
    return {"description": description, "content": {"application/json": {"schema": _ref(schema)}}}


def _problems(described: Mapping[int, str]) -> Json:
    content = {"application/problem+json": {"schema": _ref("Problem")}}
    return {str(status): {"description": text, "content": content} for status, text in sorted(described.items())}


def _in_path(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _asked(name: str, schema: Json, description: str, *, required: bool = False) -> Json:
    return {"name": name, "in": "query", "required": required, "description": description, "schema": schema}


def _metric(allowed: Iterable[Metric], default: str | None = None) -> Json:
    schema = _names(allowed) | ({"default": default} if default else {})
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
        _asked("limit", _COUNT | {"minimum": 1, "maximum": MAX_TOP, "default": DEFAULT_TOP}, "How many at most."),
        _asked("offset", _COUNT | {"maximum": MAX_OFFSET, "default": 0}, "How many are passed over."),
    ]


def _uniques() -> Json:
    return _COUNT | {"description": f"Estimated number of viewers, standard error {STANDARD_ERROR:.2%}."}


def _names(members: Iterable[Enum]) -> Json:
    return {"type": "string", "enum": [_spelled(one) for one in members]}


def _spelled(one: Enum) -> str:
    return one.name.lower() if isinstance(one, Kind) else str(one.value)


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _object(properties: Json, description: str, required: Sequence[str] | None = None) -> Json:
    """An object with these members and no others. required: all, unless said otherwise."""
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": list(properties) if required is None else list(required),
        "additionalProperties": False,
    }


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
