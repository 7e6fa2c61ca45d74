"""The settings of one edge node: frozen, validated, units in the names.

Flags win over environment (`SMARTEDU_<KEY>`), environment over the TOML file, file over defaults. The command line is
made from this class, so that a setting exists once: its key, flag, default, meaning and what is allowed.
"""

from __future__ import annotations

import os
import re
import socket
import tomllib
from collections.abc import Mapping
from hashlib import blake2b
from importlib.resources.abc import Traversable
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    ByteSize,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from config.provinces import PROVINCES

NODE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
REDIS_SCHEMES = ("redis", "rediss", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel")
DEFAULT_PORTS = {"http": 80, "https": 443}
_TABLES = ("counts",)
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")  # a field name (RFC 9110, 5.6.2)
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9a-f:.]{2,45}(?:%[A-Za-z0-9._-]+)?")
_QUERY_KEY = re.compile(r"[^\x00-\x20\x7f&=#,+*]{1,64}")
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


def _listed(value: object) -> object:
    """A list whose texts may hold several entries each, separated by commas."""
    if isinstance(value, str):
        return _entries(value)
    if isinstance(value, list | tuple):
        return tuple(entry for one in value for entry in (_entries(one) if isinstance(one, str) else (one,)))
    return value


def _entries(text: str) -> tuple[str, ...]:
    return tuple(entry.strip() for entry in text.split(",") if entry.strip())


def _addresses(value: object) -> object:
    entries = _listed(value)
    return tuple(_address(entry) for entry in entries) if isinstance(entries, tuple) else entries


def _origins(value: object) -> object:
    """One bucket, or one or more HTTP origins, each once."""
    entries = _listed(value)
    if not isinstance(entries, tuple):
        return entries
    origins = tuple(_origin(entry) for entry in entries)
    buckets = sum(isinstance(origin, Bucket) for origin in origins)
    if buckets and len(origins) > 1:
        raise ValueError("a bucket beside something else")
    if len(set(origins)) < len(origins):
        raise ValueError("an origin twice")
    return origins


def _origin(value: object) -> object:
    return _bucket(value) if isinstance(value, str) and value.startswith("s3:") else _web_url(value)


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
    if parts.scheme not in DEFAULT_PORTS or not _HOST.fullmatch(parts.hostname or "") or extra:
        raise ValueError("not a URL")
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    port = parts.port  # raises ValueError beyond 65535
    if port == 0:
        raise ValueError("nobody can be asked there")
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, DEFAULT_PORTS[parts.scheme]) else "")


def _field_names(value: object) -> object:
    """Field names as they are compared: in lower case."""
    entries = _listed(value)
    if not isinstance(entries, tuple):
        return entries
    if not all(isinstance(name, str) and _TOKEN.fullmatch(name) for name in entries):
        raise ValueError("not field names")
    return tuple(name.lower() for name in entries)


def _field_name(value: object) -> object:
    if isinstance(value, str) and not _TOKEN.fullmatch(value):
        raise ValueError("not a field name")
    return value.lower() if isinstance(value, str) else value


def _networks(value: object) -> object:
    """Networks in CIDR notation, as they are written in full."""
    entries = _listed(value)
    if not isinstance(entries, tuple):
        return entries
    return tuple(str(ip_network(entry)) if isinstance(entry, str) else entry for entry in entries)


def _query_keys(value: object) -> object:
    entries = _listed(value)
    if not isinstance(entries, tuple) or entries == ("*",):
        return entries
    if not all(isinstance(name, str) and _QUERY_KEY.fullmatch(name) for name in entries):
        raise ValueError("not parameter names")
    return entries


def _redis_url(value: object) -> object:
    if isinstance(value, str):
        parts = urlsplit(value)
        several = "+" in parts.scheme
        hosts = parts.netloc.rpartition("@")[2].split(",")
        if parts.scheme not in REDIS_SCHEMES or (len(hosts) > 1 and not several):
            raise ValueError("not a Redis URL")
        for host in hosts:
            address = urlsplit(f"//{host}")
            if not address.hostname or address.port == 0:  # asking for a wrong port raises ValueError
                raise ValueError("not a Redis URL")
        if parts.scheme.endswith("+sentinel") and not re.fullmatch(r"/[^/]+(/\d*)?", parts.path):
            raise ValueError("not a Redis URL")
    return value


def _node_name(value: object) -> object:
    if isinstance(value, str) and not NODE_NAME.fullmatch(value):
        raise ValueError("not a node name")
    return value


def _province(value: object) -> object:
    if type(value) is int:  # TOML knows no 00, but 44 is meant as it stands there
        value = str(value)
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
OriginsSetting = Annotated[tuple[Bucket | str, ...], NoDecode, BeforeValidator(_origins)]
FieldNamesSetting = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_field_names)]
FieldNameSetting = Annotated[str, BeforeValidator(_field_name)]
NetworksSetting = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_networks)]
QueryKeysSetting = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_query_keys)]
SizeSetting = Annotated[ByteSize, BeforeValidator(_size)]
RedisUrl = Annotated[SecretStr, BeforeValidator(_redis_url)]
FileSetting = Annotated[Path, BeforeValidator(_readable_file)]


_REDIS_ALLOWED = (
    "redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], redis+cluster://…HOST[:PORT][,…], "
    "redis+sentinel://…HOST[:PORT][,…]/NAME[/DB]; rediss for TLS"
)
_SIZE_UNITS = "a number with B, KiB, MiB, GiB or TiB"


def _allowed(text: str, *, repeatable: bool = False) -> dict[str, Any]:
    """What a setting may be, for people; repeatable: its flag may be given several times."""
    return {"allowed": text, "repeatable": repeatable}


class _SettingsFile(TomlConfigSettingsSource):
    """The TOML file, in which settings may also stand in a table: `read_token_file` of `[counts]` is one of ours."""

    def _read_file(self, file_path: Path | Traversable) -> dict[str, Any]:
        found = tomllib.loads(file_path.read_text("utf-8-sig"))  # some editors put a byte order mark before it
        for table in _TABLES:
            keys = found.get(table)
            if isinstance(keys, dict):
                del found[table]
                found |= {f"{table}_{key}": value for key, value in keys.items()}
        return found


class EdgeSettings(BaseSettings):
    """Everything `smartedu serve` can be told. Each field's description is its `--help` line."""

    model_config = SettingsConfigDict(env_prefix="SMARTEDU_", extra="forbid", frozen=True, env_ignore_empty=True)
    toml_file: ClassVar[Path | None] = None

    listen: AddressesSetting = Field(
        (Address("127.0.0.1", 8080),),
        min_length=1,
        description="Public listener (repeatable).",
        json_schema_extra=_allowed("HOST:PORT, an IPv6 host in brackets, several separated by commas", repeatable=True),
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
        description="Admin listener: /metrics, /healthz, /readyz, /config, /purge.",
        json_schema_extra=_allowed("HOST:PORT"),
    )
    admin_token_file: FileSetting | None = Field(
        None,
        description="File with the bearer token that the admin listener wants for what changes state.",
        json_schema_extra=_allowed("a readable file"),
    )
    max_connections: int = Field(
        20_000,
        ge=1,
        le=1_000_000,
        description="Client connections one worker holds at once; beyond it the longest idle gives way, or 503.",
        json_schema_extra=_allowed("a whole number from 1 to 1000000"),
    )
    max_in_flight: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Requests one worker answers at once; beyond it new ones get 503 with Retry-After.",
        json_schema_extra=_allowed("a whole number from 1 to 1000000"),
    )
    header_timeout_s: float = Field(
        10.0,
        ge=0.1,
        le=3600,
        description="Time for a request's header section to arrive, seconds.",
        json_schema_extra=_allowed("a number from 0.1 to 3600"),
    )
    origin: OriginsSetting = Field(
        (Bucket("smartedu", ""),),
        min_length=1,
        max_length=64,
        description="Where misses go: a bucket, or HTTP origins or parent edges (repeatable: hashed by key, failover).",
        json_schema_extra=_allowed(
            "one s3://bucket[/prefix], or one or more http(s)://HOST[:PORT], each once, separated by commas",
            repeatable=True,
        ),
    )
    origin_ca: FileSetting | None = Field(
        None,
        description="Certificate authorities (PEM) that https origins are verified against; default the system's.",
        json_schema_extra=_allowed("a readable file"),
    )
    origin_concurrency: int = Field(
        64,
        ge=1,
        le=100_000,
        description="Requests of a worker that wait for one origin's answer at once; more queue, then get 503.",
        json_schema_extra=_allowed("a whole number from 1 to 100000"),
    )
    origin_connect_s: float = Field(
        2.0,
        ge=0.01,
        le=600,
        description="Time to connect to an origin, seconds.",
        json_schema_extra=_allowed("a number from 0.01 to 600"),
    )
    origin_first_byte_s: float = Field(
        10.0,
        ge=0.01,
        le=3600,
        description="Time from a sent request to the response's head, seconds.",
        json_schema_extra=_allowed("a number from 0.01 to 3600"),
    )
    origin_idle_s: float = Field(
        15.0,
        ge=0.01,
        le=3600,
        description="Time between two pieces of a body, seconds.",
        json_schema_extra=_allowed("a number from 0.01 to 3600"),
    )
    origin_total_s: float = Field(
        3600.0,
        ge=0.1,
        le=604_800,
        description="Time for a whole exchange with an origin, body included, seconds.",
        json_schema_extra=_allowed("a number from 0.1 to 604800"),
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
        description="Shared cache tier and purge bus. Without it the node works alone.",
        json_schema_extra=_allowed(_REDIS_ALLOWED),
    )
    counters_redis: RedisUrl | None = Field(
        None,
        description="Where view counts are applied; defaults to --redis.",
        json_schema_extra=_allowed(_REDIS_ALLOWED),
    )
    province: Annotated[str, BeforeValidator(_province)] = Field(
        "00",
        description="Two-digit administrative code (44 Guangdong, 81 Hong Kong, 00 national hub).",
        json_schema_extra=_allowed("one of " + " ".join(PROVINCES)),
    )
    counts_provinces: Literal["auto", "own", "all"] = Field(
        "auto",
        description="Whose counts can be asked for here; auto: all provinces' on the hub (province 00), else its own.",
        json_schema_extra=_allowed("auto, own or all"),
    )
    counts_read_token_file: FileSetting | None = Field(
        None,
        description="File with the bearer token that reading counts wants; without it anybody may read.",
        json_schema_extra=_allowed("a readable file"),
    )
    counts_history: Literal["auto", "off"] = Field(
        "auto",
        description="Whether closed days of counts go to the origin's bucket; auto: when it is one, with credentials.",
        json_schema_extra=_allowed("auto or off"),
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
        json_schema_extra=_allowed(f"at least 8MiB: {_SIZE_UNITS}, e.g. 512MiB"),
    )
    max_object: SizeSetting | None = Field(
        None,
        ge=64 * 1024,
        description="Largest object kept whole; default: an eighth of a worker's memory, 8MiB at most.",
        json_schema_extra=_allowed(f"at least 64KiB: {_SIZE_UNITS}, e.g. 8MiB"),
    )
    block_size: SizeSetting = Field(
        ByteSize(1024**2),
        ge=64 * 1024,
        le=16 * 1024**2,
        description="Larger objects are kept in blocks of this size.",
        json_schema_extra=_allowed(f"from 64KiB to 16MiB: {_SIZE_UNITS}, e.g. 1MiB"),
    )
    disk: Path | None = Field(
        None,
        description="Directory of the local disk tier, shared by the node's workers; without it there is none.",
        json_schema_extra=_allowed("a directory that can be made and written"),
    )
    disk_size: SizeSetting = Field(
        ByteSize(10 * 1024**3),
        ge=16 * 1024**2,
        description="Bound of the disk tier, whole node.",
        json_schema_extra=_allowed(f"at least 16MiB: {_SIZE_UNITS}, e.g. 10GiB"),
    )
    query_keys: QueryKeysSetting = Field(
        ("*",),
        max_length=200,
        description="Query parameters that name an object, `*` for all; others are dropped before it is looked up.",
        json_schema_extra=_allowed("* or parameter names, separated by commas"),
    )
    negative_ttl_s: float = Field(
        2.0,
        ge=0,
        le=86_400,
        description="How long a 404 or 410 without a lifetime of its own is kept, seconds.",
        json_schema_extra=_allowed("a number from 0 to 86400"),
    )
    targeted_fields: FieldNamesSetting = Field(
        ("cdn-cache-control",),
        max_length=16,
        description="Response fields that win over Cache-Control (RFC 9213), the first one present first.",
        json_schema_extra=_allowed("field names, separated by commas"),
    )
    request_directives: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Whether a client's own Cache-Control is obeyed; auto: for HTTP origins.",
        json_schema_extra=_allowed("auto, on or off"),
    )
    fast_lane: bool = Field(
        True,
        description="Answer hot hits by the bytes of the request; off: every request is parsed.",
        json_schema_extra=_allowed("true or false"),
    )
    transport: Literal["auto", "uvloop", "aiofastnet"] = Field(
        "auto",
        description="What moves the bytes of client connections; auto: aiofastnet over TLS, uvloop in plain.",
        json_schema_extra=_allowed("auto, uvloop or aiofastnet"),
    )
    cache_status_key: bool = Field(
        False,
        description="Name the cache key in Cache-Status.",
        json_schema_extra=_allowed("true or false"),
    )
    server_timing: bool = Field(
        False,
        description="Say in Server-Timing how long each tier took; hits cost four times as much then.",
        json_schema_extra=_allowed("true or false"),
    )
    access_log: str = Field(
        "off",
        min_length=1,
        description="Access log in JSON lines: a file, `-` for standard output.",
        json_schema_extra=_allowed("off, - or a file that can be written"),
    )
    access_log_sample: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of the requests that are logged.",
        json_schema_extra=_allowed("a number from 0 to 1"),
    )
    trusted_proxies: NetworksSetting = Field(
        (),
        max_length=1000,
        description="Proxies whose X-Forwarded-For (or Forwarded) is believed, and the viewer's place that they tell.",
        json_schema_extra=_allowed("addresses or networks like 10.0.0.0/8, separated by commas"),
    )
    viewer_place: Literal["own", "header", "mmdb"] = Field(
        "own",
        description="Where viewers are: in this node's province, as a trusted proxy's header or an MMDB file says.",
        json_schema_extra=_allowed("own, header or mmdb"),
    )
    viewer_province_header: FieldNameSetting | None = Field(
        None,
        description="Field in which trusted proxies tell the viewer's province: 44, GD or CN-GD.",
        json_schema_extra=_allowed("a field name"),
    )
    viewer_country_header: FieldNameSetting | None = Field(
        None,
        description="Field in which trusted proxies tell the viewer's country: CN.",
        json_schema_extra=_allowed("a field name"),
    )
    viewer_mmdb: FileSetting | None = Field(
        None,
        description="MMDB file with records as in GeoLite2-City; replace it by renaming, and SIGHUP reads it again.",
        json_schema_extra=_allowed("a readable file"),
    )
    views_per_client: float = Field(
        10_000.0,
        ge=0,
        le=1_000_000,
        description="View events a second that a worker takes of one address in the long run; of a minute at once.",
        json_schema_extra=_allowed("a number from 0 (no limit) to 1000000"),
    )
    viewer_views_per_minute: int = Field(
        1200,
        ge=0,
        le=1_000_000,
        description="Views a minute beyond which a viewer id is counted as a bot.",
        json_schema_extra=_allowed("a whole number from 0 (no limit) to 1000000"),
    )
    client_views_per_minute: int = Field(
        1_500_000,
        ge=0,
        le=100_000_000,
        description="Views a minute beyond which an address is counted as a bot; views_per_client stops most before.",
        json_schema_extra=_allowed("a whole number from 0 (no limit) to 100000000"),
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
        json_schema_extra=_allowed(f"at least 1MiB: {_SIZE_UNITS}, e.g. 2GiB"),
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
        description="Portal, player and board; counts by subject, grade and so on, and of known resources only.",
        json_schema_extra=_allowed("true or false"),
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        """Python counts True as 1; whoever wrote `workers = true` meant something else."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("true and false are no number and no text")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _no_zero_byte(cls, value: object) -> object:
        """No address, name or path has one; the kernel takes what comes before it for the whole."""
        if isinstance(value, str | Path) and "\0" in str(value):
            raise ValueError("a zero byte is possible nowhere")
        return value

    @model_validator(mode="after")
    def _tls_in_pairs(self) -> EdgeSettings:
        if (self.tls_cert is None) != (self.tls_key is None):
            given, missing = ("tls_cert", "tls_key") if self.tls_key is None else ("tls_key", "tls_cert")
            raise ValueError(f"{given} is set but {missing} is not; allowed: both or neither")
        return self

    @model_validator(mode="after")
    def _place_has_a_source(self) -> EdgeSettings:
        headers = self.viewer_province_header or self.viewer_country_header
        if self.viewer_place == "header" and not (self.trusted_proxies and headers):
            raise ValueError(
                "viewer_place: 'header' is not allowed; allowed: with trusted_proxies and with viewer_province_header, "
                "viewer_country_header or both"
            )
        if self.viewer_place == "mmdb" and self.viewer_mmdb is None:
            raise ValueError("viewer_place: 'mmdb' is not allowed; allowed: with viewer_mmdb")
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
            sources += (_SettingsFile(settings_cls, toml_file=cls.toml_file),)
        return sources

    @property
    def bucket(self) -> Bucket | None:
        """The bucket that misses go to; None when they go to HTTP origins."""
        first = self.origin[0]
        return first if isinstance(first, Bucket) else None

    @property
    def http_origins(self) -> tuple[str, ...]:
        """The HTTP origins that misses go to, as `http(s)://host[:port]`; none when they go to a bucket."""
        return tuple(origin for origin in self.origin if isinstance(origin, str))

    @property
    def origin_name(self) -> str:
        """All origins as one text, the same in whatever order they were given."""
        return ",".join(sorted(map(str, self.origin)))

    @property
    def obeys_request_directives(self) -> bool:
        """Whether a client's Cache-Control counts."""
        return self.request_directives == "on" or (self.request_directives == "auto" and bool(self.http_origins))

    @property
    def known_query_keys(self) -> frozenset[str] | None:
        """The query parameters that count; None for all."""
        return None if self.query_keys == ("*",) else frozenset(self.query_keys)

    @property
    def counted_provinces(self) -> tuple[str, ...]:
        """The provinces whose counts this node can be asked for."""
        every = self.counts_provinces == "all" or (self.counts_provinces == "auto" and self.province == "00")
        return tuple(PROVINCES) if every else (self.province,)

    @property
    def accepted_provinces(self) -> tuple[str, ...]:
        """The provinces whose events this node takes: its own, or any, where viewers' places are told."""
        return (self.province,) if self.viewer_place == "own" else tuple(PROVINCES)

    @property
    def served_provinces(self) -> tuple[str, ...]:
        """The provinces whose events this node takes or whose counts it can be asked for."""
        # Either are its own one or all of them.
        return max(self.accepted_provinces, self.counted_provinces, key=len)

    def counters_url(self) -> str | None:
        """The Redis URL that counts go to, secrets included; None where the node has no Redis at all."""
        secret = self.counters_redis or self.redis
        return secret.get_secret_value() if secret is not None else None

    @property
    def fingerprint(self) -> str:
        """The same for two workers that have the same settings: only then may one get its answers from the other."""
        secrets = [secret.get_secret_value() for secret in (self.redis, self.counters_redis) if secret is not None]
        return blake2b("\n".join([self.model_dump_json(), *secrets]).encode(), digest_size=4).hexdigest()

    def public_view(self) -> dict[str, Any]:
        """The settings in force, secrets masked, as JSON values."""
        lists = {"listen": [str(address) for address in self.listen], "origin": [str(origin) for origin in self.origin]}
        return self.model_dump(mode="json") | lists


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
    if isinstance(value, bool):
        value = str(value).lower()  # as files have it
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    if key in ("redis", "counters_redis", "s3_endpoint", "origin"):
        text = re.sub(r"//.*@", "//…@", text)
    return repr(text)
