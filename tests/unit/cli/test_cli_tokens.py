"""token new: printed once, and what the configuration then needs; config shows none of it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from observer_core.runtime.settings import load
from observer_core.shared.clock import SECOND, SystemClock
from tests.unit.cli.conftest import run

DAY = 86_400 * SECOND


def test_what_it_prints_can_be_added_and_the_token_is_known_by_it(tmp_path: Path) -> None:
    words = ("--scopes", "read, operate", "--caller", 'strategy "7" 한', "--for", "90d")
    done = run(tmp_path, "token", "new", "kim", *words)
    assert done.exit_code == 0, done.output
    token = done.stdout.strip()
    assert re.fullmatch(r"qts_[\w-]{43}", token)
    assert token not in done.stderr
    path = tmp_path / "observer.toml"
    path.write_text(f'[web]\nhost = "127.0.0.1"\n{done.stderr}')
    (kept,) = load(path, root=tmp_path).web.token
    assert kept.sha256.get_secret_value() == hashlib.sha256(token.encode()).hexdigest()
    assert (kept.name, kept.scopes, kept.caller) == ("kim", ("read", "operate"), 'strategy "7" 한')
    assert kept.until is not None
    assert abs(kept.until - SystemClock().now_ns() - 90 * DAY) < 60 * SECOND


def test_as_json_it_is_one_line_with_both(tmp_path: Path) -> None:
    found = json.loads(run(tmp_path, "token", "new", "feed", "--scopes", "push", "--json").stdout)
    assert found["sha256"] == hashlib.sha256(found["token"].encode()).hexdigest()
    assert found["toml"].startswith('[[web.token]]\nname = "feed"\n')
    assert "until" not in found
    assert "caller" not in found


def test_it_leaves_nothing_behind(tmp_path: Path) -> None:
    run(tmp_path, "token", "new", "kim", "--scopes", "read")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (
            ("kim", "--scopes", "read,write"),
            "Input should be 'read', 'push', 'operate' or 'admin'; found 'write'",
        ),
        (("kim", "--scopes", ""), "found ''"),
        (("k im", "--scopes", "read"), "token new: name"),
        (("kim", "--scopes", "read", "--for", "soon"), "'soon' is not a duration"),
        (("kim", "--scopes", "read", "--caller", ""), "token new: caller"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_printed(
    tmp_path: Path, words: tuple[str, ...], why: str
) -> None:
    done = run(tmp_path, "token", "new", *words)
    assert done.exit_code == 2
    assert why in done.stderr
    assert "qts_" not in done.output


def test_the_configuration_is_shown_without_digests(tmp_path: Path) -> None:
    found = json.loads(run(tmp_path, "token", "new", "kim", "--scopes", "read", "--json").stdout)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "observer.toml").write_text(found["toml"])
    for words in (
        ("config", "check"),
        ("config", "check", "--json"),
        ("config", "show"),
        ("config", "show", "--json"),
    ):
        done = run(tmp_path, *words)
        assert done.exit_code == 0, done.output
        assert "kim" in done.output
        assert "**********" in done.output
        assert found["sha256"] not in done.output


def test_a_token_put_where_its_digest_belongs_is_not_shown(tmp_path: Path) -> None:
    found = json.loads(run(tmp_path, "token", "new", "kim", "--scopes", "read", "--json").stdout)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "observer.toml").write_text(found["toml"].replace(found["sha256"], found["token"]))
    done = run(tmp_path, "config", "check")
    assert done.exit_code == 2
    assert "sha256 is not the 64 hexadecimal digits" in done.stderr
    assert found["token"] not in done.output


def test_running_wider_without_tokens_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "observer.toml").write_text('[web]\nhost = "0.0.0.0"\nport = 0\n')
    for words in (("run", "--no-console", "--for", "1s"), ("config", "check")):
        done = run(tmp_path, *words)
        assert done.exit_code == 2
        assert "listening beyond loopback needs tokens" in done.stderr
        assert "observer token new NAME --scopes read" in done.stderr
