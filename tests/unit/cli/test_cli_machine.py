"""config, doctor, status: is this machine, this configuration, this Observer as it should be?"""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from observer_core.cli import checkup
from observer_core.cli.moments import span
from observer_core.runtime.standalone import single_instance
from observer_core.shared.clock import format_time
from tests.unit.cli.conftest import MINUTES, ROOT, SILENT_FROM, Observer, run

CONFIG = """
durability = "normal"
[web]
port = 8123
[[subscription]]
name = "hook"
sink = { kind = "webhook", url = "https://hooks.example/T000/B000", secret = "s3cret" }
"""
RECORDING = """
[[source]]
name = "x"
domain = "y"
kind = "recording"
paths = ["nowhere.csv"]
[source.mapping]
time = "t"
"""


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/observer.toml").write_text(CONFIG)
    return tmp_path


def test_config_check_says_where_each_setting_comes_from(
    configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBSERVER_WEB__HOST", "127.0.0.2")
    checked = run(configured, "config", "check", "--log-dir", "elsewhere", "--json")
    assert checked.exit_code == 0
    found = json.loads(checked.stdout)["settings"]
    assert found["durability"] == {"value": "normal", "from": str(configured / "config/observer.toml")}
    assert found["web.port"]["from"] == str(configured / "config/observer.toml")
    assert found["web.host"] == {"value": "127.0.0.2", "from": "environment"}
    assert found["log_dir"] == {"value": "elsewhere", "from": "command line"}
    assert found["max_lag"] == {"value": "30s", "from": "default"}
    assert "the configuration can be used" in run(configured, "config", "check").stdout


@pytest.mark.parametrize("words", [("check",), ("check", "--json"), ("show",), ("show", "--json")])
def test_secrets_are_masked_wherever_the_configuration_is_shown(
    configured: Path, words: tuple[str, ...]
) -> None:
    shown = run(configured, "config", *words)
    assert shown.exit_code == 0
    assert "hooks.example" in shown.stdout
    for secret in ("s3cret", "B000"):
        assert secret not in shown.stdout


def test_config_show_is_what_is_in_force(configured: Path) -> None:
    found = json.loads(run(configured, "config", "show", "--json").stdout)
    assert (found["web"]["port"], found["durability"]) == (8123, "normal")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot = 1", "prot: unknown key"),
        ("[web]\nport = 'x'", "web.port: "),
        ("[web", "expected TOML"),
        ("policies = 'nix.toml'", "nix.toml: cannot be read"),
    ],
)
def test_config_check_explains_what_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "some.toml").write_text(text)
    refused = run(tmp_path, "config", "check", tmp_path / "some.toml")
    assert refused.exit_code == 2
    assert message in refused.stderr


def test_config_check_finds_a_deployment_that_disagrees(configured: Path) -> None:
    (configured / "deployment_config.json").write_text(json.dumps({"port": 9000}))
    found = run(configured, "config", "check")
    assert found.exit_code == 1
    assert "deployment_config.json declares port 9000, this Observer has 8123" in found.stdout


def test_doctor_finds_nothing_on_a_machine_that_is_well(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBSERVER_WEB__PORT", "0")
    monkeypatch.setattr(checkup, "packages", lambda: (True, "as locked"))
    checked = run(own, "doctor")
    assert checked.exit_code == 0, checked.output
    assert all(line.startswith("✓") for line in checked.stdout.splitlines())
    names = {json.loads(line)["check"] for line in run(own, "doctor", "--json").stdout.splitlines()}
    assert names == {
        "python", "packages", "configuration", "needs", "deployment", "data folder", "log folder",
        "disk space", "single instance", "port", "errors", "sqlite", "journal.db", "clock",
    }  # fmt: skip


def test_doctor_creates_no_folder(tmp_path: Path) -> None:
    run(tmp_path, "doctor")
    assert list(tmp_path.iterdir()) == []


def test_doctor_ends_with_1_and_gives_the_remedy(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own / "deployment_config.json").write_text(json.dumps({"version": "9.9"}))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("OBSERVER_WEB__PORT", str(taken.getsockname()[1]))
        checked = run(own, "doctor", "--json")
        assert checked.exit_code == 1
        found = {item["check"]: item for item in map(json.loads, checked.stdout.splitlines())}
        assert not found["deployment"]["ok"]
        assert "declares version '9.9'" in found["deployment"]["found"]
        assert "choose another with --port" in found["port"]["remedy"]
        with single_instance(own / "data/observer"):
            again = run(own, "doctor", "--json").stdout.splitlines()
        assert {item["check"]: item["ok"] for item in map(json.loads, again)}["port"]


def test_doctor_stops_at_a_configuration_that_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("prot = 1")
    checked = run(tmp_path, "doctor", "--config", tmp_path / "bad.toml")
    assert checked.exit_code == 1
    assert "✗ configuration" in checked.stdout
    assert "prot: unknown key" in checked.stdout


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (lambda folder: checkup.python((3, 10)), "3.10 is not supported"),
        (lambda folder: checkup.writable("data folder", folder / "file" / "data"), "cannot be created in"),
        (lambda folder: checkup.index(folder / "file"), "cannot be read: file is not a database"),
        (lambda folder: checkup.clock(10**15, 0), "cannot be now"),
        (lambda folder: checkup.clock(1_800_000_000 * 10**9, 1_900_000_000 * 10**9), "is behind the newest"),
    ],
)
def test_each_check_can_fail_and_has_a_remedy(tmp_path: Path, check: Any, text: str) -> None:
    (tmp_path / "file").write_bytes(b"not a database at all" * 100)
    found = check(tmp_path)
    assert not found.ok
    assert text in found.found
    assert found.remedy


def test_a_full_disk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checkup.disk(tmp_path / "not/there/yet").ok
    monkeypatch.setattr(checkup, "LEAST_FREE_BYTES", 2**62)
    assert "Free some" in checkup.disk(tmp_path).remedy


def test_less_space_than_the_observer_takes_in_is_found(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBSERVER_SAFETY__LEAST_FREE", "1000000GiB")
    assert "✗ disk space" in run(own, "doctor").stdout


def test_records_without_their_index_are_found(own: Path) -> None:
    (own / "data/observer/journal.db").rename(own / "away.db")
    line = next(line for line in run(own, "doctor").stdout.splitlines() if "journal.db" in line)
    assert line.startswith("✗ journal.db"), line
    assert "is missing" in line


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[heartbeat]\nurl = { env = "NOT_THERE" }', "heartbeat.url: the environment has no NOT_THERE"),
        ('[[subscription]]\nname = "a"\n[subscription.sink]\nkind = "slack"\nurl = { env = "NOT_THERE" }',
         "subscription.a.sink.url: the environment has no NOT_THERE"),
        ('[telemetry]\ntraces = "azure_monitor"\nconnection = "NOT_THERE"', "has no NOT_THERE"),
        ('[[source]]\nname = "x"\nkind = "market"\nexchange = "none"\nsymbols = ["A/B"]', "none"),
        ('[web]\nhost = "0.0.0.0"', "0.0.0.0"),
        (RECORDING, "nowhere.csv"),
    ],
)  # fmt: skip
def test_what_would_end_a_start_is_found_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    monkeypatch.delenv("NOT_THERE", raising=False)
    (tmp_path / "config").mkdir()
    (tmp_path / "config/observer.toml").write_text(text)
    checked = run(tmp_path, "doctor", "--json")
    found = {item["check"]: item for item in map(json.loads, checked.stdout.splitlines())}
    assert checked.exit_code == 1
    assert not found["needs"]["ok"], found["configuration"]
    assert says in found["needs"]["found"]


def test_the_secrets_of_an_observer_that_runs_are_not_looked_for_here(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/observer.toml").write_text('[heartbeat]\nurl = { env = "NOT_THERE" }')
    with single_instance(tmp_path / "data/observer"):
        lines = run(tmp_path, "doctor", "--json").stdout.splitlines()
    assert {item["check"]: item["ok"] for item in map(json.loads, lines)}["needs"]


def test_a_package_at_another_version_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("numpy==0.0.1\n    # via x\nwindows-only==1.0 ; sys_platform == 'win32'\nnix-nix==1\n")
    monkeypatch.setattr("observer_core.runtime.paths.lock_file", lambda: lock)
    ok, found = checkup.packages()
    assert not ok
    assert "locked is 0.0.1" in found
    assert "nix-nix is missing, locked is 1" in found
    assert "windows-only" not in found


def test_status_shows_sources_stages_incidents_blocks_and_sizes(look: Observer) -> None:
    value = json.loads(look("status", "--json").stdout)
    (domain,) = value["domains"]
    assert (domain["domain"], domain["mode"]) == ("desk", "recorded")
    (source,) = domain["sources"]
    assert (source["source"], source["status"], source["subjects"]) == ("desk", "ok", 3)
    assert source["stale_subjects"] == ["B/USD"]
    assert source["position"] == MINUTES + 1 > SILENT_FROM
    assert [stage["stage"] for stage in domain["stages"]] == ["recognise desk", "publish", "decide"]
    assert all(stage["behind"] == 0 for stage in domain["stages"])
    assert {block["scope"] for block in domain["blocks"]} >= {"subject:B/USD"}
    assert value["sizes"]["snapshots"] > value["sizes"]["decisions"] > 0
    shown = look("status").stdout
    for text in (
        "domain desk (recorded time, 2018-04-04T04:20:00Z)",
        "recognise desk",
        "subject:B/USD  by stale-feed",
    ):
        assert text in shown


@pytest.mark.parametrize(
    ("ns", "text"), [(0, "0s"), (-5, "0s"), (1_234_567, "1ms"), (90_500_000_000, "1m30s")]
)
def test_spans_are_for_people(ns: int, text: str) -> None:
    assert span(ns) == text


def test_doctor_asks_the_observer_that_runs_and_counts_errors(tmp_path: Path) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    status = "warn"

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if status == "fail" else 200)
            self.end_headers()
            self.wfile.write(json.dumps({"status": status}).encode())

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        for status, ok in (("pass", True), ("warn", False), ("fail", False)):
            check = checkup.health("127.0.0.1", server.server_port)
            assert (check.found, check.ok) == (status, ok)
        server.shutdown()
    assert "does not answer" in checkup.health("127.0.0.1", server.server_port).found
    assert checkup.errors(tmp_path).ok
    line = {"timestamp": format_time(time.time_ns()), "level": "error", "event": "it broke"}
    (tmp_path / "observer.log").write_text(json.dumps(line) + "\n")
    assert checkup.errors(tmp_path).found == "1 in the last 24 h"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, "as this version needs it"),
        ("{", "cannot be read"),
        (
            '{"extensions": {"queues": {"messageEncoding": "none"}}}',
            "messageEncoding is 'none', expected 'base64'",
        ),
    ],
)
def test_doctor_compares_host_json(tmp_path: Path, text: str | None, found: str) -> None:
    from observer_core.cli.checkup_account import host_file

    path = tmp_path / "host.json"
    assert host_file(path) is None
    path.write_text((ROOT / "host.json").read_text() if text is None else text)
    check = host_file(path)
    assert check is not None
    assert found in check.found
    assert check.ok is (text is None)


def test_a_pin_for_another_python_is_not_missed() -> None:
    old, new = "python_full_version < '3.13'", "python_full_version >= '3.13'"
    assert [checkup._applies(marker, (3, 11)) for marker in ("", old, new)] == [True, True, False]
    assert [checkup._applies(marker, (3, 13)) for marker in ("", old, new)] == [True, False, True]


def test_doctor_does_not_take_what_comes_back_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from observer_core.cli.checkup_account import account_checks
    from observer_core.runtime import storages
    from observer_core.runtime.settings import load
    from observer_core.storage.memory import MemoryStorage

    storage = MemoryStorage()
    monkeypatch.setattr(storages, "open_storage", lambda _: storage)
    settings = load(root=tmp_path)
    assert all(check.ok for check in account_checks(settings))
    monkeypatch.setattr(storage.blobs, "get", lambda _: b"something else")
    monkeypatch.setattr(storage.queues, "receive", lambda *_, **__: [])
    wrong = {check.name: check.found for check in account_checks(settings) if not check.ok}
    assert set(wrong) == {"blobs", "queues"}
    assert "read back" in wrong["blobs"]
