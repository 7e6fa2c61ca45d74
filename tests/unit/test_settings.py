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
        ({"origin": "s3://a/../b"}, "origin: 's3://a/../b' is not allowed; allowed: s3://bucket or s3://bucket/prefix"),
        ({"origin": "s3://UPPER"}, "origin: "),
        ({"workers": "0"}, "workers: '0' is not allowed; allowed: a whole number from 1 to 1024"),
        ({"node": "a b"}, "node: 'a b' is not allowed; allowed: a letter"),
        ({"s3_endpoint": "ftp://x"}, "s3_endpoint: 'ftp://x' is not allowed; allowed: http://HOST"),
        ({"tls_cert": "/nonexistent"}, "tls_cert: '/nonexistent' is not allowed; allowed: a readable file"),
        ({"colour": "red"}, "colour: unknown key; allowed: admin, "),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(flags: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(flags)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


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


@pytest.mark.parametrize("text", ['unknown_key = "1"', "memory = ", "listen = [1"])
def test_a_bad_file_is_one_clear_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "edge.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load({}, file)
    assert "\n" not in str(caught.value)
    assert "allowed:" in str(caught.value)


def test_a_bucket_may_have_a_prefix() -> None:
    assert load({"origin": "s3://lessons/edge/a/"}).origin == Bucket("lessons", "edge/a")


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
