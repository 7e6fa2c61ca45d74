"""What the settings accept, which source wins, and how a wrong one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.settings import Address, Bucket, ConfigurationError, EdgeSettings, default_node_name, load


def test_defaults_serve_on_loopback() -> None:
    settings = load({})
    assert settings.listen == (Address("127.0.0.1", 8080),)
    assert settings.admin == Address("127.0.0.1", 9090)
    assert settings.memory == 512 * 1024**2


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "edge.toml"
    file.write_text('memory = "1GiB"\nprovince = "44"\nnode = "from-file"\n')
    monkeypatch.setenv("SMARTEDU_PROVINCE", "81")
    monkeypatch.setenv("SMARTEDU_NODE", "from-env")
    settings = load({"node": "from-flag"}, file)
    assert (settings.memory, settings.province, settings.node) == (1024**3, "81", "from-flag")


def test_settings_have_one_fingerprint_only_if_all_of_them_are_the_same() -> None:
    given = {"redis": "redis://one:1/0", "origin": "http://127.0.0.1:1"}
    others = [{"redis": "redis://two:1/0"}, {"redis": "redis://one:1/1"}, {"origin": "http://127.0.0.1:2"}]
    assert load(given).fingerprint == load(given).fingerprint
    assert len({load({**given, **other}).fingerprint for other in [{}, *others]}) == 4


def test_several_listeners_come_from_one_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTEDU_LISTEN", "127.0.0.1:1,[::1]:2")
    assert load({}).listen == (Address("127.0.0.1", 1), Address("::1", 2))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"memory": "12X"}, "memory: '12X' is not allowed; allowed: at least 8MiB"),
        ({"memory": "1MiB"}, "memory: '1MiB' is not allowed; allowed: at least 8MiB"),
        ({"listen": ("nowhere",)}, "listen: "),
        ({"admin": "127.0.0.1:70000"}, "admin: '127.0.0.1:70000' is not allowed; allowed: HOST:PORT"),
        ({"province": "99"}, "province: '99' is not allowed; allowed: one of 00 11 12"),
        (
            {"origin": "s3://a/../b"},
            "origin: 's3://a/../b' is not allowed; allowed: one s3://bucket[/prefix], or one or",
        ),
        ({"origin": "s3://UPPER"}, "origin: "),
        ({"origin": ("s3://abc", "http://a")}, "origin: 's3://abc,http://a' is not allowed; allowed: one s3://"),
        ({"origin": ("s3://abc", "s3://abd")}, "origin: 's3://abc,s3://abd' is not allowed; allowed: one s3://"),
        ({"origin": ("http://a", "http://A:80/")}, "origin: 'http://a,http://A:80/' is not allowed"),
        ({"origin": "http://a/path"}, "origin: 'http://a/path' is not allowed"),
        ({"origin": "http://a:99999"}, "origin: 'http://a:99999' is not allowed"),
        ({"origin": "http://a:0"}, "origin: 'http://a:0' is not allowed"),
        ({"origin": "http://a b"}, "origin: 'http://a b' is not allowed"),
        ({"origin": "http://user:secret@a"}, "origin: 'http://…@a' is not allowed"),
        ({"origin": ","}, "origin: "),
        ({"block_size": "1KiB"}, "block_size: '1KiB' is not allowed; allowed: from 64KiB to 16MiB"),
        ({"disk_size": "1MiB"}, "disk_size: '1MiB' is not allowed; allowed: at least 16MiB"),
        ({"query_keys": "a=b"}, "query_keys: 'a=b' is not allowed; allowed: * or parameter names"),
        ({"query_keys": "a,*"}, "query_keys: 'a,*' is not allowed; allowed: * or parameter names"),
        ({"targeted_fields": "a b"}, "targeted_fields: 'a b' is not allowed; allowed: field names"),
        ({"request_directives": "maybe"}, "request_directives: 'maybe' is not allowed; allowed: auto, on or off"),
        ({"access_log_sample": "2"}, "access_log_sample: '2' is not allowed; allowed: a number from 0 to 1"),
        ({"redis": "redis+socket:///x"}, "redis: 'redis+socket:///x' is not allowed; allowed: redis://"),
        ({"workers": "0"}, "workers: '0' is not allowed; allowed: a whole number from 1 to 1024"),
        ({"node": "a b"}, "node: 'a b' is not allowed; allowed: a letter"),
        ({"s3_endpoint": "ftp://x"}, "s3_endpoint: 'ftp://x' is not allowed; allowed: http://HOST"),
        ({"tls_cert": "/nonexistent"}, "tls_cert: '/nonexistent' is not allowed; allowed: a readable file"),
        ({"trusted_proxies": "10.0.0.1/8"}, "trusted_proxies: '10.0.0.1/8' is not allowed; allowed: addresses or"),
        ({"viewer_place": "header"}, "viewer_place: 'header' is not allowed; allowed: with trusted_proxies"),
        (
            {"viewer_place": "header", "trusted_proxies": "10.0.0.0/8"},
            "viewer_place: 'header' is not allowed; allowed: with trusted_proxies",
        ),
        ({"viewer_place": "mmdb"}, "viewer_place: 'mmdb' is not allowed; allowed: with viewer_mmdb"),
        ({"viewer_province_header": "a b"}, "viewer_province_header: 'a b' is not allowed; allowed: a field name"),
        ({"views_per_client": "-1"}, "views_per_client: '-1' is not allowed; allowed: a number from 0"),
        ({"colour": "red"}, "colour: unknown key; allowed: access_log, "),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(flags: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(flags)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_trusted_proxies_are_networks_and_a_lone_address_is_one() -> None:
    settings = load({"trusted_proxies": "10.0.0.0/8, 2001:DB8::7"})
    assert settings.trusted_proxies == ("10.0.0.0/8", "2001:db8::7/128")


def test_a_password_in_a_wrong_redis_url_is_not_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load({"redis": "http://user:secret@host"})
    assert "secret" not in str(caught.value)


def test_the_public_view_masks_secrets() -> None:
    settings = load({"redis": "redis://:secret@127.0.0.1:6379/0"})
    assert "secret" not in str(settings.public_view())
    assert settings.counters_url() == "redis://:secret@127.0.0.1:6379/0"


def test_half_a_tls_pair_is_refused(tmp_path: Path) -> None:
    cert = tmp_path / "cert.pem"
    cert.write_text("")
    with pytest.raises(ConfigurationError, match="tls_cert is set but tls_key is not; allowed: both or neither"):
        load({"tls_cert": str(cert)})


@pytest.mark.parametrize("key", ["workers", "memory", "origin_connect_s", "province", "node"])
def test_true_is_no_number_and_no_text(tmp_path: Path, key: str) -> None:
    file = tmp_path / "edge.toml"
    file.write_text(f"{key} = true")
    with pytest.raises(ConfigurationError, match=f"^{key}: 'true' is not allowed; allowed: "):
        load({}, file)


@pytest.mark.parametrize("key", ["access_log", "disk", "data_dir", "node", "tls_cert"])
def test_a_zero_byte_is_no_part_of_any_setting(tmp_path: Path, key: str) -> None:
    config = tmp_path / "edge.toml"
    config.write_text(f'{key} = "/a\\u0000b"\n')
    with pytest.raises(ConfigurationError, match=f"{key}: .* is not allowed; allowed: "):
        load({}, config)


def test_a_file_may_begin_with_a_byte_order_mark_and_give_the_province_as_a_number(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    file.write_text("province = 44\nfast_lane = false", encoding="utf-8-sig")
    settings = load({}, file)
    assert (settings.province, settings.fast_lane) == ("44", False)


@pytest.mark.parametrize("text", ['unknown_key = "1"', "memory = ", "listen = [1"])
def test_a_bad_file_is_one_clear_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "edge.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load({}, file)
    assert "\n" not in str(caught.value)
    assert "allowed:" in str(caught.value)


def test_a_bucket_may_have_a_prefix() -> None:
    settings = load({"origin": "s3://lessons/edge/a/"})
    assert settings.bucket == Bucket("lessons", "edge/a")
    assert settings.http_origins == ()
    assert settings.origin_name == "s3://lessons/edge/a"


def test_several_http_origins_come_from_flags_a_file_or_one_environment_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ("http://a.example", "https://b.example:8443")
    file = tmp_path / "edge.toml"
    file.write_text('origin = ["http://A.example:80", "https://b.example:8443/"]')
    assert load({"origin": ("http://a.example/", "https://b.example:8443")}).http_origins == expected
    assert load({}, file).http_origins == expected
    monkeypatch.setenv("SMARTEDU_ORIGIN", "http://a.example,https://b.example:8443")
    settings = load({})
    assert settings.http_origins == expected
    assert settings.bucket is None
    assert settings.public_view()["origin"] == list(expected)


def test_an_ipv6_origin_keeps_its_brackets() -> None:
    assert load({"origin": "http://[::1]:8000"}).http_origins == ("http://[::1]:8000",)


@pytest.mark.parametrize(
    ("origin", "told", "obeyed"),
    [
        ("http://a", "auto", True),
        ("s3://abc", "auto", False),
        ("http://a", "off", False),
        ("s3://abc", "on", True),
    ],
)
def test_request_directives_count_for_http_origins_unless_told_otherwise(origin: str, told: str, obeyed: bool) -> None:
    assert load({"origin": origin, "request_directives": told}).obeys_request_directives is obeyed


def test_all_query_parameters_count_unless_some_are_named() -> None:
    assert load({}).known_query_keys is None
    assert load({"query_keys": "page, size"}).known_query_keys == frozenset({"page", "size"})
    assert load({"query_keys": ()}).known_query_keys == frozenset()


def test_targeted_fields_are_compared_in_lower_case() -> None:
    assert load({"targeted_fields": "Edge-Cache-Control,CDN-Cache-Control"}).targeted_fields == (
        "edge-cache-control",
        "cdn-cache-control",
    )


def test_settings_of_counts_may_stand_in_a_table_of_the_file(tmp_path: Path) -> None:
    token, file = tmp_path / "token", tmp_path / "edge.toml"
    token.write_text("secret")
    file.write_text(f'province = "44"\n[counts]\nread_token_file = "{token}"\nprovinces = "all"\n')
    settings = load({}, file)
    assert settings.counts_read_token_file == token
    assert len(settings.counted_provinces) == 35
    file.write_text("[counts]\nmoon = 1\n")
    with pytest.raises(ConfigurationError, match="counts_moon: unknown key"):
        load({}, file)


@pytest.mark.parametrize(
    ("flags", "count"), [({}, 35), ({"province": "44"}, 1), ({"counts_provinces": "own"}, 1)], ids=str
)
def test_the_hub_counts_for_all_provinces_and_a_province_for_itself(flags: dict[str, str], count: int) -> None:
    assert len(load(flags).counted_provinces) == count


@pytest.mark.parametrize(
    ("flags", "accepted", "served"),
    [
        ({"province": "44"}, 1, 1),
        ({"province": "44", "viewer_place": "header"}, 35, 35),
        ({"province": "44", "counts_provinces": "all"}, 1, 35),
        ({}, 1, 35),
    ],
    ids=str,
)
def test_a_node_serves_the_provinces_of_its_viewers_and_those_it_can_be_asked_for(
    flags: dict[str, str], accepted: int, served: int
) -> None:
    settings = load(flags | {"trusted_proxies": "127.0.0.1", "viewer_province_header": "x-province"})
    assert len(settings.accepted_provinces) == accepted
    assert len(settings.served_provinces) == served
    assert settings.province in settings.accepted_provinces


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "rediss://h:1/2",
        "redis+cluster://:p@h:7000",
        "rediss+cluster://:p@h:7000,h:7001,[::1]",
        "redis+sentinel://:p@h:26379,h2/counters",
        "rediss+sentinel://h/counters/3",
    ],
)
def test_a_redis_may_be_alone_encrypted_a_cluster_or_watched_by_sentinels(url: str) -> None:
    assert load({"redis": url}).counters_url() == url


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "redis://",
        "redis://a,b",
        "redis+cluster://a,",
        "redis+cluster://a:x",
        "redis+sentinel://a",
        "redis+sentinel://a/",
        "redis+sentinel://a/counters/x",
    ],
)
def test_other_urls_of_redis_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="counters_redis"):
        load({"counters_redis": url})


@pytest.mark.parametrize("host", ["127-0-0-1", "a_b", "中文", ""])
def test_any_host_name_makes_a_valid_node_name(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert load({"node": default_node_name()}).node


@pytest.mark.parametrize("key", sorted(EdgeSettings.model_fields))
def test_every_setting_says_what_it_means_and_what_is_allowed(key: str) -> None:
    field = EdgeSettings.model_fields[key]
    assert field.description
    assert isinstance(field.json_schema_extra, dict)
    assert field.json_schema_extra["allowed"]


@pytest.mark.parametrize("name", ["default.toml", "province.toml", "hub.toml"])
def test_the_shipped_files_load(name: str) -> None:
    load({}, Path("config") / name)


def test_the_default_file_documents_every_setting() -> None:
    text = (Path("config") / "default.toml").read_text()
    for key in EdgeSettings.model_fields:
        assert f"{key} = " in text, f"{key} is not in config/default.toml"
