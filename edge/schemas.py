"""The schemas of the interface: what events, receipts and counts look like, as JSON Schema.

Objects of answers allow no member that is not named, and have all that are named unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, Final

from edge.counters.event import MAX_AGE_MS, MAX_EVENTS, MAX_ID_CHARS, MAX_VIEWER_CHARS, MAX_WATCHED_S, Kind
from edge.counters.question import ADDITIVE, BY, RANKED, Step
from edge.counters.uniques import STANDARD_ERROR

Json = dict[str, Any]
RESOURCE: Final = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$", "examples": ["lesson-000123"]}
COUNT: Final = {"type": "integer", "minimum": 0}
# Nothing but a correction that takes away too much makes these negative.
_AMOUNT: Final = {"type": "integer"}
_SECONDS: Final = {"type": "number"}
_UNIQUES: Final = COUNT | {"description": f"Estimated number of viewers, standard error {STANDARD_ERROR:.2%}."}
_OF_RESOURCES: Final = {"views": _AMOUNT, "plays": _AMOUNT, "watch_seconds": _SECONDS}
_FIGURES: Final = {**_OF_RESOURCES, "uniques": _UNIQUES}
_AMOUNTS: Final = {**_OF_RESOURCES, "visits": _AMOUNT, "uniques": _UNIQUES}
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
_EXACT: Final = "Exact for all events accepted before complete_through."


def schemas() -> Json:
    """All of them, by name."""
    return (
        _times()
        | _resources()
        | _summary()
        | _tables()
        | _series()
        | _corrections()
        | _events()
        | _receipt()
        | _problem()
    )


def _times() -> Json:
    """When counts were read, and up to when they are exact."""
    return {
        "AsOf": _TIME | {"description": "When the counts were read."},
        "CompleteThrough": _TIME_OR_NULL
        | {"description": "The counts are exact for all events accepted before. Null while no writer has reported."},
        "CompleteThroughOfEach": {
            "description": "One time for all provinces in the answer, or one for each where provinces are listed.",
            "oneOf": [
                ref("CompleteThrough"),
                {
                    "type": "object",
                    "additionalProperties": ref("CompleteThrough"),
                    "propertyNames": {"pattern": r"^\d\d$"},
                },
            ],
        },
    }


def _resources() -> Json:
    return {
        "Figures": _object(_FIGURES, "Counts of a resource over some time."),
        "ResourceCounts": _object({"id": RESOURCE, **_FIGURES, "today": ref("Figures")}, "A resource's counts."),
        "Resource": _object({"id": RESOURCE, **_FIGURES, "today": ref("Figures"), **_when()}, _EXACT),
        "Resources": _object({"resources": _list(ref("ResourceCounts")), **_when()}, _EXACT),
    }


def _summary() -> Json:
    return {
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
                "uniques": _UNIQUES,
                "resources": COUNT | {"description": "Resources seen so far."},
                "provinces": COUNT | {"description": "Provinces with counts; the hub is none."},
                "countries": COUNT | {"description": "Known countries with counts."},
                **_when(),
            },
            "The headline figures.",
        ),
    }


def _tables() -> Json:
    """Totals and rankings."""
    names = _object({"zh": {"type": "string"}, "en": {"type": "string"}}, "What the catalog calls it.")
    row = {"id": {"type": "string"}, "name": names, **_AMOUNTS, "complete_through": _TIME_OR_NULL}
    return {
        "Row": _object(row, "A value of a dimension.", required=["id"]),
        "Totals": _object(
            {
                "dimension": names_of(BY),
                "by": _list(ref("Row")),
                "standard_error": {"const": STANDARD_ERROR, "description": "Of unique viewers."},
                "catalog_version": _CATALOG,
                **_when_listed(),
            },
            _EXACT,
            required=["dimension", "by", "as_of", "complete_through"],
        ),
        "Ranking": _object(
            {
                "dimension": names_of(RANKED),
                "metric": names_of(ADDITIVE),
                "total": COUNT | {"description": "Places of the whole ranking."},
                "top": _list(ref("Row")),
                "next": _NEXT,
                "catalog_version": _CATALOG,
                **_when_listed(),
            },
            _EXACT,
            required=["dimension", "metric", "total", "top", "next", "as_of", "complete_through"],
        ),
    }


def _series() -> Json:
    return {
        "Point": _object(
            {
                "at": {"type": "string", "format": "date-time", "description": "When the point begins."},
                **{metric.value: _AMOUNTS[metric.value] for metric in ADDITIVE},
            },
            "An amount over one step.",
            required=["at"],
        ),
        "Series": _object(
            {
                "metric": names_of(ADDITIVE),
                "step": names_of(Step),
                "from": _TIME,
                "to": _TIME,
                "series": _list(ref("Point")),
                "catalog_version": _CATALOG,
                **_when(),
            },
            _EXACT,
            required=["metric", "step", "from", "to", "series", "as_of", "complete_through"],
        ),
    }


def _corrections() -> Json:
    return {
        "Correction": _object(
            {
                "id": {"type": "string"},
                "kind": names_of(Kind),
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
            {"total": COUNT, "corrections": _list(ref("Correction")), "next": _NEXT, **_when()}, "The newest first."
        ),
    }


def _events() -> Json:
    return {
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
                "kind": names_of(Kind)
                | {"description": "visit: a session began; view: opened; play: first frame; watch: more seconds seen."},
                "resource": RESOURCE | {"description": "Left out for a visit."},
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
            "properties": {"events": {"type": "array", "items": ref("Event"), "maxItems": MAX_EVENTS}},
            "required": ["events"],
        },
    }


def _receipt() -> Json:
    return {
        "Receipt": _object(
            {
                "accepted": COUNT,
                "rejected": _list(
                    _object({"index": COUNT, "reason": {"type": "string"}}, "An event that was refused.")
                ),
            },
            "What became of the events.",
        ),
    }


def _problem() -> Json:
    return {
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


def _when() -> Json:
    return {"as_of": ref("AsOf"), "complete_through": ref("CompleteThrough")}


def _when_listed() -> Json:
    return {"as_of": ref("AsOf"), "complete_through": ref("CompleteThroughOfEach")}


def names_of(members: Iterable[Enum]) -> Json:
    """One of the members' names in the interface."""
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


def ref(name: str) -> Json:
    """A schema, by its name."""
    return {"$ref": f"#/components/schemas/{name}"}
