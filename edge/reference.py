"""The description of the interface (`openapi.py`) as HTML for the page `/docs`: no script, no outside address.

What is said in both languages stands there in both: Chinese first, as on all pages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final
from urllib.parse import urlencode

Json = Mapping[str, Any]

_EXAMPLES: Final = {
    "dimension": "section",
    "id": "lesson-000123",
    "ids": "lesson-000123,lesson-000124",
    "day": "2026-11-28",
    "step": "minute",
    "metric": "views",
    "limit": "10",
}
_EVENT: Final = {"id": "0193…", "kind": "view", "resource": "lesson-000123", "viewer": "opaque", "at": 1764000000000}


def html(document: Json) -> str:
    """The operations by their tags, then the schemas."""
    return "\n".join((*_contents(document), *_operations(document), *_schemas(document["components"]["schemas"])))


def _contents(document: Json) -> Iterator[str]:
    yield '<nav class="contents" aria-label="目录 · Contents"><ul>'
    for _, path, method, operation in _all(document):
        link = f'<a href="#{escape(operation["operationId"])}">{_method(method)} <code>{escape(path)}</code></a>'
        yield f"<li>{link}</li>"
    yield '<li><a href="#schemas">Schemas · 数据结构</a></li></ul></nav>'


def _all(document: Json) -> Iterator[tuple[Json, str, str, Json]]:
    """Tag, path, method and operation, tag by tag."""
    for tag in document["tags"]:
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    yield tag, path, method, operation


def _method(method: str) -> str:
    return f'<span class="method method-{method}">{method.upper()}</span>'


def _operations(document: Json) -> Iterator[str]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f'<section class="panel operation" id="{escape(operation["operationId"])}">'
            yield f"<h2>{_method(method)} <code>{escape(path)}</code></h2>"
            yield (
                f'<p class="operation-title">{escape(operation["x-zh"])} '
                f'<span lang="en">{escape(operation["summary"])}</span></p>'
            )
            if "description" in operation:
                yield f'<p lang="en">{_text(operation["description"])}</p>'
            yield from _parameters(operation.get("parameters", ()))
            yield _example(method, path, operation)
            yield from _responses(operation["responses"])
            yield "</section>"


def _parameters(parameters: Any) -> Iterator[str]:
    if not parameters:
        return
    yield '<table class="members" lang="en"><tbody>'
    for one in parameters:
        needed = ' <span class="needed">required</span>' if one["required"] else ""
        yield (
            f'<tr><th scope="row"><code>{escape(one["name"])}</code>{needed}</th>'
            f"<td>{_kind(one['schema'])}</td><td>{_text(one['description'])}</td></tr>"
        )
    yield "</tbody></table>"


def _example(method: str, path: str, operation: Json) -> str:
    if method == "post":
        return f"<pre><code>{escape(json.dumps(_EVENT, ensure_ascii=False))}</code></pre>"
    for name, value in _EXAMPLES.items():
        path = path.replace("{" + name + "}", value)
    shown = [
        one["name"] for one in operation.get("parameters", ()) if one["in"] == "query" and one["name"] in _EXAMPLES
    ]
    asked = urlencode({name: _EXAMPLES[name] for name in shown if name != "dimension"}, safe=",")
    url = f"http://127.0.0.1:8080{path}" + (f"?{asked}" if asked else "")
    return f"<pre><code>curl {'-X OPTIONS ' if method == 'options' else ''}&#39;{escape(url)}&#39;</code></pre>"


def _responses(responses: Json) -> Iterator[str]:
    yield '<dl class="responses" lang="en">'
    for status, answer in sorted(responses.items()):
        kinds = ", ".join(_content(kind, body) for kind, body in answer.get("content", {}).items())
        good = "good" if status < "300" else "refusal"
        yield f'<dt class="{good}">{status}</dt>'
        yield f'<dd>{_text(answer["description"])} <span class="small">{kinds}</span></dd>'
    yield "</dl>"


def _content(kind: str, body: Json) -> str:
    schema = body.get("schema", {})
    return f"{escape(kind)} {_kind(schema)}" if schema else escape(kind)


def _schemas(schemas: Json) -> Iterator[str]:
    yield '<section class="panel" id="schemas"><h2>Schemas <span class="small">数据结构</span></h2>'
    for name, schema in schemas.items():
        yield f'<article class="schema" id="schema-{escape(name)}" lang="en"><h3><code>{escape(name)}</code></h3>'
        if "description" in schema:
            yield f"<p>{_text(schema['description'])}</p>"
        if "properties" not in schema:
            yield f"<p>{_kind(schema)}</p></article>"
            continue
        yield '<table class="members"><tbody>'
        for member, one in schema["properties"].items():
            needed = "" if member in schema.get("required", ()) else ' <span class="small">optional</span>'
            yield (
                f'<tr><th scope="row"><code>{escape(member)}</code>{needed}</th><td>{_kind(one)}</td>'
                f"<td>{_text(one.get('description', ''))}</td></tr>"
            )
        yield "</tbody></table></article>"
    yield "</section>"


def _kind(schema: Json) -> str:
    """What values a schema allows, in few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#schema-{escape(name)}">{escape(name)}</a>'
    if "enum" in schema:
        return " ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    if "oneOf" in schema:
        return " or ".join(map(_kind, schema["oneOf"]))
    kind = schema.get("type", "anything")
    names = [kind] if isinstance(kind, str) else list(kind)
    if "items" in schema:
        return f"list of {_kind(schema['items'])}"
    if "additionalProperties" in schema and isinstance(schema["additionalProperties"], dict):
        return f"object of {_kind(schema['additionalProperties'])}"
    words = " or ".join(schema.get("format", name) if name in ("string", "number") else name for name in names)
    return escape(words + _range(schema))


def _range(schema: Json) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if most is not None:
        return f", {least or 0} to {most}"
    return f", at most {schema['maxLength']} characters" if "maxLength" in schema else ""


def _text(text: str) -> str:
    """Plain text in which `code` is code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if at % 2 else piece for at, piece in enumerate(pieces))
