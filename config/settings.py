"""The settings of one edge node: frozen, validated, units in the names.

Flags win over environment (`SMARTEDU_<KEY>`), environment over the TOML file, file over defaults. The command line is
made from this class, so that a setting exists once: its key, flag, default, meaning and what is allowed.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple
from urllib.parse import urlsplit

from pydantic import BeforeValidator, ByteSize, Field, PlainSerializer, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from config.provinces import PROVINCES

NODE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
BUCKET_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9._-]+)*)/?")


class ConfigurationError(Exception):
    """A setting is wrong. The message is one line naming the key, the value and what is allowed."""


class Address(NamedTuple):
    """A TCP address to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Bucket(NamedTuple):
    """An object storage bucket and the key prefix inside it ('' or 'a/b', no slash at either end)."""

    name: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.name}" + (f"/{self.prefix}" if self.prefix else "")


def _address(value: object) -> object:
    if not isinstance(value, str):
        return value
    host, colon, port = value.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("not an address")
    return Address(host, int(port))


def _addresses(value: object) -> object:
    entries = value.split(",") if isinstance(value, str) else value
    return tuple(_address(entry) for entry in entries) if isinstance(entries, list | tuple) else entries


def _bucket(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = BUCKET_URL.fullmatch(value)
    if match is None or {".", ".."} & set(match[2].split("/")):
        raise ValueError("not a bucket")
    return Bucket(match[1], match[2].strip("/"))


def _web_url(value: object) -> object:
    if not isinstance(value, str):
        return value
    parts = urlsplit(value)
    extra = parts.username or parts.password or parts.path not in ("", "/") or parts.query or parts.fragment
    if parts.scheme not in ("http", "https") or not parts.hostname or extra:
        raise ValueError("not a URL")
    return f"{parts.scheme}://{parts.netloc}"


def _redis_url(value: object) -> object:
    if isinstance(value, str):
        parts = urlsplit(value)
        if parts.scheme not in ("redis", "rediss") or not parts.hostname:
            raise ValueError("not a Redis URL")
    return value


def _node_name(value: object) -> object:
    if isinstance(value, str) and not NODE_NAME.fullmatch(value):
        raise ValueError("not a node name")
    return value


def _province(value: object) -> object:
    if value not in PROVINCES:
        raise ValueError("not a province")
    return value


def _readable_file(value: object) -> object:
    if value is not None and not os.access(str(value), os.R_OK):
        raise ValueError("not readable")
    return value


def _size(value: object) -> object:
    """Sizes are byte counts with a binary or decimal unit; a bare number is bytes."""
    if isinstance(value, str) and not re.fullmatch(r"\d+(\.\d+)?\s*([KMGT]i?B|B)?", value.strip(), re.IGNORECASE):
        raise ValueError("not a size")
    return value


def default_node_name() -> str:
    """The host name, made fit for a node name: one that fits no other way gets `edge-` put before it."""
    cleaned = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:60] or "edge"
    return cleaned if cleaned[0].isalpha() else f"edge-{cleaned}"[:64]


_As_text = PlainSerializer(str, return_type=str)
AddressSetting = Annotated[Address, NoDecode, BeforeValidator(_address), _As_text]
AddressesSetting = Annotated[tuple[Address, ...], NoDecode, BeforeValidator(_addresses)]
BucketSetting = Annotated[Bucket, NoDecode, BeforeValidator(_bucket), _As_text]
SizeSetting = Annotated[ByteSize, BeforeValidator(_size)]
RedisUrl = Annotated[SecretStr, BeforeValidator(_redis_url)]
FileSetting = Annotated[Path, BeforeValidator(_readable_file)]


def _allowed(text: str) -> dict[str, Any]:
    return {"allowed": text}


class EdgeSettings(BaseSettings):
    """Everything `smartedu serve` can be told. Each field's description is its `--help` line."""

    model_config = SettingsConfigDict(env_prefix="SMARTEDU_", extra="forbid", frozen=True, env_ignore_empty=True)
    toml_file: ClassVar[Path | None] = None

    listen: AddressesSetting = Field(
        (Address("127.0.0.1", 8080),),
        min_length=1,
        description="Public listener (repeatable).",
        json_schema_extra=_allowed("HOST:PORT, an IPv6 host in brackets, several separated by commas"),
    )
    tls_cert: FileSetting | None = Field(
        None,
        description="Certificate chain (PEM); with --tls-key makes the public listeners HTTPS.",
        json_schema_extra=_allowed("a readable file, given together with tls_key"),
    )
    tls_key: FileSetting | None = Field(
        None,
        description="Private key (PEM) of --tls-cert.",
        json_schema_extra=_allowed("a readable file, given together with tls_cert"),
    )
    admin: AddressSetting = Field(
        Address("127.0.0.1", 9090),
        description="Admin listener: /metrics, /healthz, /readyz, /config.",
        json_schema_extra=_allowed("HOST:PORT"),
    )
    origin: BucketSetting = Field(
        Bucket("smartedu", ""),
        description="Where misses go: s3://bucket[/prefix].",
        json_schema_extra=_allowed("s3://bucket or s3://bucket/prefix"),
    )
    s3_endpoint: Annotated[str, BeforeValidator(_web_url)] | None = Field(
        None,
        description="Object storage service; credentials come from the usual AWS environment or files.",
        json_schema_extra=_allowed("http://HOST[:PORT] or https://HOST[:PORT]"),
    )
    s3_region: str = Field(
        "us-east-1",
        pattern=r"^[a-z0-9-]{1,40}$",
        description="Region name that requests are signed for.",
        json_schema_extra=_allowed("lower-case letters, digits and hyphens"),
    )
    redis: RedisUrl | None = Field(
        None,
        description="Shared cache tier. Without it the node works alone.",
        json_schema_extra=_allowed("redis://[[USER]:PASSWORD@]HOST[:PORT][/DB] or rediss://…"),
    )
    counters_redis: RedisUrl | None = Field(
        None,
        description="Where view counts are applied; defaults to --redis.",
        json_schema_extra=_allowed("redis://[[USER]:PASSWORD@]HOST[:PORT][/DB] or rediss://…"),
    )
    province: Annotated[str, BeforeValidator(_province)] = Field(
        "00",
        description="Two-digit administrative code (44 Guangdong, 81 Hong Kong, 00 national hub).",
        json_schema_extra=_allowed("one of " + " ".join(PROVINCES)),
    )
    node: Annotated[str, BeforeValidator(_node_name)] = Field(
        default_factory=default_node_name,
        description="This node's stable name; default the host name.",
        json_schema_extra=_allowed("a letter, then letters, digits, '.', '_' or '-', at most 64 in all"),
    )
    workers: int = Field(
        default_factory=lambda: len(os.sched_getaffinity(0)),
        ge=1,
        le=1024,
        description="Worker processes; default: one per core.",
        json_schema_extra=_allowed("a whole number from 1 to 1024"),
    )
    memory: SizeSetting = Field(
        ByteSize(512 * 1024**2),
        ge=8 * 1024**2,
        description="Memory budget of the cache, whole node.",
        json_schema_extra=_allowed("at least 8MiB: a number with B, KiB, MiB, GiB or TiB, e.g. 512MiB"),
    )
    data_dir: Path = Field(
        Path(".smartedu/edge"),
        description="Journal of view events, and run-time state.",
        json_schema_extra=_allowed("a directory that can be made and written"),
    )
    journal_size: SizeSetting = Field(
        ByteSize(2 * 1024**3),
        ge=1024**2,
        description="Bound of the view event journal, whole node; beyond it new events are refused with 503.",
        json_schema_extra=_allowed("at least 1MiB: a number with B, KiB, MiB, GiB or TiB, e.g. 2GiB"),
    )
    drain_s: float = Field(
        30.0,
        ge=0,
        le=3600,
        description="How long in-flight requests may take to finish when the node stops, seconds.",
        json_schema_extra=_allowed("a number from 0 to 3600"),
    )
    site: bool = Field(
        False,
        description="Serve the portal, the player and the board.",
        json_schema_extra=_allowed("true or false"),
    )

    @model_validator(mode="after")
    def _tls_in_pairs(self) -> EdgeSettings:
        if (self.tls_cert is None) != (self.tls_key is None):
            given, missing = ("tls_cert", "tls_key") if self.tls_key is None else ("tls_key", "tls_cert")
            raise ValueError(f"{given} is set but {missing} is not; allowed: both or neither")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
        if cls.toml_file is not None:
            sources += (TomlConfigSettingsSource(settings_cls, toml_file=cls.toml_file),)
        return sources

    def counters_url(self) -> str | None:
        """The Redis URL that counts go to, secrets included; None where the node has no Redis at all."""
        secret = self.counters_redis or self.redis
        return secret.get_secret_value() if secret is not None else None

    def public_view(self) -> dict[str, Any]:
        """The settings in force, secrets masked, as JSON values."""
        return self.model_dump(mode="json") | {"listen": [str(address) for address in self.listen]}


def load(flags: Mapping[str, object], file: Path | None = None) -> EdgeSettings:
    """Settings from flags, environment and an optional TOML file. Raises ConfigurationError on the first wrong one."""
    if file is not None and not os.access(file, os.R_OK):
        raise ConfigurationError(f"config: cannot read {str(file)!r}; allowed: a readable TOML file")
    source = type("EdgeSettingsFromFile", (EdgeSettings,), {"toml_file": file, "__module__": __name__})
    try:
        loaded = source(**flags)
    except ValidationError as error:
        raise ConfigurationError(_one_line(error)) from None
    except ValueError as error:  # TOML that cannot be parsed
        raise ConfigurationError(f"config: {file}: {error}; allowed: a TOML file") from None
    return EdgeSettings.model_construct(**{name: getattr(loaded, name) for name in EdgeSettings.model_fields})


def _one_line(error: ValidationError) -> str:
    """The first fault as `key: value is not allowed; allowed: …`."""
    fault = error.errors(include_url=False)[0]
    if not fault["loc"]:
        return str(fault["ctx"]["error"]) if "ctx" in fault else str(fault["msg"])
    key = str(fault["loc"][0])
    if fault["type"] == "extra_forbidden":
        return f"{key}: unknown key; allowed: {', '.join(sorted(EdgeSettings.model_fields))}"
    extra = EdgeSettings.model_fields[key].json_schema_extra
    allowed = extra["allowed"] if isinstance(extra, dict) else fault["msg"]
    return f"{key}: {_shown(key, fault['input'])} is not allowed; allowed: {allowed}"


def _shown(key: str, value: object) -> str:
    """A value as people typed it; a URL keeps its user and password to itself, however they are mistyped."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    if key in ("redis", "counters_redis", "s3_endpoint"):
        text = re.sub(r"//.*@", "//…@", text)
    return repr(text)
