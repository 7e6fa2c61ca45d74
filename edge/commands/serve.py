"""`smartedu serve`: one edge node in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from pydantic import ByteSize
from pydantic.fields import FieldInfo

from config.settings import Address, ConfigurationError, EdgeSettings, load
from edge.commands.one_line import WrongUsage
from edge.garbage import kept_still

EXAMPLE = """\b
Examples:
  smartedu serve --listen 0.0.0.0:8080 --origin http://backend:8000
  smartedu serve --listen 0.0.0.0:8080 --origin s3://smartedu \\
      --s3-endpoint http://storage:8333 --redis redis://cache:6379 --province 44 --site

\b
Every flag has a key in the TOML file (--config) and an environment variable, e.g. --s3-endpoint:
s3_endpoint = "…", SMARTEDU_S3_ENDPOINT=…; flags win over environment, environment over file."""


def _option(key: str, field: FieldInfo) -> click.Option:
    """The command line option of one setting. Values stay text: the settings class judges them, for every source."""
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    name = "--" + key.replace("_", "-")
    if field.annotation is bool:
        return click.Option([f"{name}/--no-{name[2:]}", key], default=None, help=field.description)
    return click.Option(
        [name, key],
        multiple=bool(extra["repeatable"]),
        metavar=key.upper(),
        help=f"{field.description}  [{_default(field)}allowed: {extra['allowed']}]",
    )


def _default(field: FieldInfo) -> str:
    default = field.default
    if field.default_factory is not None or default is None:
        return ""
    if isinstance(default, ByteSize):
        return f"default: {default.human_readable().replace('.0', '')}; "
    several = isinstance(default, tuple) and not isinstance(default, Address)
    return f"default: {','.join(map(str, default)) if several else default}; "


def _serve(config: Path | None, **flags: Any) -> None:
    with kept_still():  # most of what the node's processes share is loaded here
        from edge.server import run

    given = {key: value for key, value in flags.items() if value not in (None, ())}
    try:
        settings = load(given, config)
        run(settings, lambda: load(given, config))
    except ConfigurationError as error:
        raise WrongUsage(f"smartedu serve: {error}") from None


serve = click.Command(
    "serve",
    callback=_serve,
    help="Run one edge node: delivery, cache and counting.",
    epilog=EXAMPLE,
    params=[
        click.Option(
            ["--config"],
            type=click.Path(path_type=Path, dir_okay=False),
            envvar="SMARTEDU_CONFIG",
            help="TOML file of settings; see config/default.toml.",
        ),
        *[_option(key, field) for key, field in EdgeSettings.model_fields.items()],
    ],
)
