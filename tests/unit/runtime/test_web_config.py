"""`[web]`: tokens that are digests, names that are one person's, and nothing of either in an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from observer_core.runtime.settings import load
from observer_core.runtime.web_config import SCOPES, all_of
from observer_core.safety.tokens import PREFIX, digest_of, new_token
from observer_core.shared.clock import parse_time
from observer_core.shared.errors import ConfigError

TOKEN = f"{PREFIX}{'kim':x<43}"
KIM: dict[str, Any] = {"name": "kim", "sha256": digest_of(TOKEN).hex(), "scopes": ["read", "operate"]}


def refused(**web: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(web=web)
    return str(caught.value)


def test_a_file_says_who_has_a_token(tmp_path: Path) -> None:
    path = tmp_path / "observer.toml"
    path.write_text(
        f'[web]\nhost = "0.0.0.0"\nhosts = ["Observer.Example"]\n[[web.token]]\nname = "kim"\n'
        f'sha256 = "{KIM["sha256"]}"\nscopes = ["admin"]\ncaller = "alpha"\n'
        "until = 2027-01-01T09:00:00+09:00\n"
    )
    web = load(path, root=tmp_path).web
    (token,) = web.token
    assert (token.name, token.scopes, token.caller) == ("kim", ("admin",), "alpha")
    assert token.until == parse_time("2027-01-01T00:00:00Z")
    assert web.hosts == ("observer.example",)


def test_so_does_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBSERVER_WEB__TOKEN", json.dumps([KIM]))
    assert load().web.token[0].name == "kim"


def test_what_scopes_include() -> None:
    assert all_of(("read",)) == {"read"}
    assert all_of(("push",)) == {"push"}
    assert all_of(("operate",)) == {"operate", "read"}
    assert all_of(("admin",)) == {"admin", "operate", "read"}
    assert all_of(SCOPES) == set(SCOPES)


def test_names_and_tokens_are_each_one_persons() -> None:
    assert "token name 'kim' is given twice" in refused(token=[KIM, {**KIM, "sha256": "0" * 64}])
    assert "tokens kim and lee are one and the same" in refused(token=[KIM, {**KIM, "name": "lee"}])


@pytest.mark.parametrize("scopes", [["reed"], ["read", "write"], ["READ"], "read", []])
def test_scopes_are_those_there_are(scopes: Any) -> None:
    message = refused(token=[{**KIM, "scopes": scopes}])
    assert "web.token.0.scopes" in message
    if "write" in scopes:
        assert "should be 'read', 'push', 'operate' or 'admin'; found 'write'" in message


@pytest.mark.parametrize("sha256", [TOKEN, f"{TOKEN}\n", "", "0" * 63, "0" * 65, "G" * 64, "A" * 64])
def test_what_is_no_digest_is_refused_and_not_shown(sha256: str) -> None:
    message = refused(token=[{**KIM, "sha256": sha256}])
    assert "sha256 is not the 64 hexadecimal digits" in message
    assert "observer token new" in message
    assert TOKEN not in message
    assert not sha256 or sha256 not in message


def test_a_token_where_a_name_should_be_is_refused_and_not_shown() -> None:
    message = refused(token=[{**KIM, "name": TOKEN}])
    assert "name begins with qts_" in message
    assert TOKEN not in message


@pytest.mark.parametrize("until", ["2027-01-01", "2027-01-01T00:00:00", "soon", 5, True])
def test_an_end_has_a_zone(until: Any) -> None:
    assert "web.token.0.until" in refused(token=[{**KIM, "until": until}])


def test_a_local_time_of_toml_has_none(tmp_path: Path) -> None:
    path = tmp_path / "observer.toml"
    kept = f'[[web.token]]\nname = "kim"\nsha256 = "{KIM["sha256"]}"\nscopes = ["read"]\n'
    for until in ("2027-01-01T00:00:00", "2027-01-01"):
        path.write_text(f"{kept}until = {until}\n")
        with pytest.raises(ConfigError, match="with its zone|a time was expected"):
            load(path, root=tmp_path)


@pytest.mark.parametrize("name", ["", "a b", "-a", "한", "a" * 64, "a\n"])
def test_names_are_plain(name: str) -> None:
    assert "web.token.0.name" in refused(token=[{**KIM, "name": name}])


def test_other_names_of_the_server_need_tokens_and_have_no_port() -> None:
    assert "that needs a [[web.token]]" in refused(hosts=["observer.example"])
    for host in ("observer.example:8000", "https://observer.example", "*", "", "a/b"):
        assert "web.hosts.0" in refused(hosts=[host], token=[KIM])


def test_unknown_keys_are_refused() -> None:
    message = refused(token=[{**KIM, "token": TOKEN}])
    assert "web.token.0.token: unknown key" in message
    assert TOKEN not in message


def test_nothing_shows_a_digest() -> None:
    settings = load(web={"token": [KIM]})
    for text in (
        repr(settings),
        str(settings.web),
        settings.model_dump_json(),
        str(settings.web.canonical()),
    ):
        assert KIM["sha256"] not in text


def test_tokens_are_long_random_and_start_as_they_should() -> None:
    made = {new_token() for _ in range(100)}
    assert len(made) == 100
    assert all(token.startswith(PREFIX) and len(token) == len(PREFIX) + 43 for token in made)
