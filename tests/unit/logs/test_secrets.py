"""No secret that the settings know is ever in a log, an exception, or what is shown of an object."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import os
from pathlib import Path
from urllib.parse import quote

import pytest
import structlog

from observer_core.logs.configure import configure, configure_for_host
from observer_core.logs.redaction import MASK, redact_text
from observer_core.runtime import settings as configured
from observer_core.runtime.heartbeat import Heartbeat
from observer_core.runtime.settings import Settings, load
from observer_core.runtime.telemetry.config import TelemetryConfig
from observer_core.safety.outbound import Target

KEY = "c2VjcmV0LWtleS1vZi10aGUtYWNjb3VudA+/x9=="
SIGNATURE = "Zm9v%2Bbar%2Fbaz0123%3D"
SECRETS = {
    "AzureWebJobsStorage": (
        f"DefaultEndpointsProtocol=https;AccountName=acc;AccountKey={KEY};EndpointSuffix=core.windows.net",
        [KEY],
    ),
    "SAS": (
        f"BlobEndpoint=https://acc.blob.core.windows.net;SharedAccessSignature=sv=2024&sig={SIGNATURE}&se=1",
        [SIGNATURE],
    ),
    "SLACK_URL": ("https://hooks.slack.com/services/T000000/B000000/XXXXXXXXXXXXXXXX", ["XXXXXXXXXXXXXXXX"]),
    "SLACK_TOKEN": ("xoxb-1234-abcdefgh", ["xoxb-1234-abcdefgh"]),
    "TEAMS_URL": (
        f"https://prod-1.example.org/workflows/0123456789abcdef/triggers/run?sv=1.0&sig={SIGNATURE}",
        [SIGNATURE, "0123456789abcdef"],
    ),
    "HOOK_SECRET": ("not-a-word-of-any-kind", ["not-a-word-of-any-kind"]),
    "PING_URL": (
        "https://pings.example.org/ping/0c8f1d5e-aaaa-bbbb-cccc-444455556666",
        ["0c8f1d5e-aaaa-bbbb-cccc-444455556666"],
    ),
    "MAIL_PASSWORD": ("correct horse battery", ["correct horse battery"]),
    "OTLP_HEADERS": ("authorization=Api-Token dt0c01.ABCDEF,x-team=desk-of-mine", ["dt0c01.ABCDEF"]),
    "APPLICATIONINSIGHTS_CONNECTION_STRING": (
        "InstrumentationKey=11111111-2222-3333-4444-555555555555;IngestionEndpoint=https://x.example.org/",
        ["11111111-2222-3333-4444-555555555555"],
    ),
    "API_KEY": ("k3y+with/signs==", ["k3y+with/signs=="]),
}  # fmt: skip
KNOWN = [part for _, parts in SECRETS.values() for part in parts]
UNKNOWN = [
    "qts_abcdefghijklmnopqrstuvwxyz", "AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQ",
    "https://user:hunter22@example.org/x", "Bearer abcdefgh12345678", "xoxp-9-zzzzzzzzzz",
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----",
    "https://hooks.slack.com/services/T1/B1/YYYYYYYY", "AccountKey=abc123==;", "?sig=abc%2B123&se=2",
]  # fmt: skip
BARE = [
    "abcdefghijklmnopqrstuvwxyz", "1QQQQQQQQQQQQQQQQQQQQQQ", "hunter22", "abcdefgh12345678", "zzzzzzzzzz",
    "MIIEvQIBADANBg", "YYYYYYYY", "abc123", "abc%2B123",
]  # fmt: skip


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Settings that name every kind of secret, each of them read as the Observer reads it."""
    for name, (value, _) in SECRETS.items():
        monkeypatch.setenv(name, value)
    found = load(
        root=tmp_path,
        heartbeat={"url": {"env": "PING_URL"}},
        telemetry={"traces": "otlp", "metrics": "azure_monitor", "headers": "OTLP_HEADERS"},
        subscription=[
            {"name": "hook", "domains": ["live"], "stream": "decisions",
             "sink": {"kind": "webhook", "url": "https://example.org/", "secret": "inline-secret-of-a-hook"}},
        ],
        web={"token": [{"name": "desk", "sha256": "ab" * 32, "scopes": ["read"]}]},
    )  # fmt: skip
    configured.connection_values("AzureWebJobsStorage")
    configured.connection_values("SAS")
    for name in SECRETS:
        if name not in ("AzureWebJobsStorage", "SAS"):
            configured.secret(name)
    configured.exporter_values(found.telemetry)
    return found


def assert_clean(text: str) -> None:
    for secret in (*KNOWN, "inline-secret-of-a-hook", "ab" * 32):
        assert secret not in text
        assert quote(secret, safe="") not in text


def test_known_secrets_are_masked_however_they_come_into_a_line(read: Settings, tmp_path: Path) -> None:
    logs = configure(tmp_path / "logs")
    log = structlog.get_logger("observer.run")
    for value, parts in SECRETS.values():
        for text in (value, *parts, *(quote(part, safe="") for part in parts)):
            log.info(
                f"sent to <{text}> and back", note=text, deep={"list": [(text,)]}, error=ValueError(text)
            )
            logging.getLogger("some.library").error("could not reach %s", text)
            try:
                raise RuntimeError(f"at {text}")
            except RuntimeError:
                log.exception("failed")
    log.info("inline-secret-of-a-hook", settings=read, hash="ab" * 32)
    logs.close()
    structlog.reset_defaults()
    text = "".join(path.read_text() for path in (tmp_path / "logs").iterdir())
    assert len(text) > 10_000
    assert MASK in text
    assert_clean(text)
    assert "acc.blob.core.windows.net" in text  # where it leads may be seen


def test_the_host_gets_no_secret_either(read: Settings, caplog: pytest.LogCaptureFixture) -> None:
    before = structlog.get_config()
    try:
        configure_for_host("info")
        for value, _ in SECRETS.values():
            structlog.get_logger("observer.functions").error(f"at {value}", of=[value])
    finally:
        structlog.configure(**before)
    assert_clean(caplog.text)


@pytest.mark.parametrize(("text", "bare"), list(zip(UNKNOWN, BARE)))
def test_secrets_that_nobody_has_told_of_are_known_by_their_look(text: str, bare: str) -> None:
    assert bare not in redact_text(f"seen: {text} there")
    assert bare not in json.dumps(redact_text(json.dumps({"a": text})))


@pytest.mark.parametrize("text", [
    "https://hunter22-as-name@example.org/x", "https://user:p@hunter22@example.org/x",
    "https://h/x?access_token=hunter22", "https://h/x?a=1&code=hunter22==&b=2", "https://h/x?key=hunter22",
    "{'token': 'hunter22'}", '{"a": 1, "password": "my hunter22"}', '{\\"client_secret\\": \\"hunter22\\"}',
    "Config(password='hunter22', n=1)", "Settings(api_key=b'hunter22')", 'secret_key="hunter22"',
    "x-api-key: hunter22", "Authorization: SharedKey account:hunter22==", "Cookie: a=1; session=hunter22",
    "refresh_token=hunter22", "passphrase=hunter22", "X-Amz-Credential=hunter22/20260101",
    "ghp_hunter22hunter22hunter22hunter22", "eyJhbGciOiJIUzI1NiJ9.eyJodW50ZXIyMiI6MX0.hunter22",
    "https://discord.com/api/webhooks/123/hunter22", "https://api.telegram.org/bot1:hunter22/sendMessage",
])  # fmt: skip
def test_a_secret_is_masked_wherever_addresses_and_libraries_put_one(text: str) -> None:
    assert "hunter22" not in redact_text(f"seen: {text}")


@pytest.mark.parametrize("text", [
    "alert.token: Field required", "key=BTC/USDT", "exit code=3", "monkey=a b", "tokens: 12",
    "at user@example.org",
    "https://example.org/a?limit=3&page=2", "snapshots.binance@12 follows", "the keyboard: none",
    "https://example.org/a, user@example.org", "passed=12",
])  # fmt: skip
def test_what_is_no_secret_stays_readable(text: str) -> None:
    assert redact_text(text) == text


@dataclasses.dataclass
class Account:
    name: str
    password: str
    inner: object = None

    def __repr__(self) -> str:
        return f"Account({self.name}, {self.password})"


def test_objects_are_masked_in_files_and_for_people_alike(read: Settings, tmp_path: Path) -> None:
    shown = io.StringIO()
    logs = configure(tmp_path / "logs", console=True, stream=shown)
    log = structlog.get_logger("observer.run")
    known = SECRETS["HOOK_SECRET"][0]
    log.info(
        "seen", account=Account("desk", "hunter22", inner=[Account("deep", "hunter22")]), plain=Shows(known)
    )
    log.info("failed", error=ValueError(f"token={known}"), nested={"error": OSError("password='hunter22'")})
    logs.close()
    structlog.reset_defaults()
    written = (tmp_path / "logs" / "observer.log").read_text()
    for text in (written, shown.getvalue()):
        assert "desk" in text
        assert "hunter22" not in text
        assert known not in text


class Shows:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"Shows({self.text})"


def test_what_libraries_tell_the_host_is_masked_too(read: Settings, caplog: pytest.LogCaptureFixture) -> None:
    before, factory = structlog.get_config(), logging.getLogRecordFactory()
    try:
        configure_for_host("info")
        configure_for_host("info")  # a worker may be asked twice
        library = logging.getLogger("urllib3.connectionpool")
        library.warning("Retrying after %r: %s", ValueError("broken"), "/c/b?sv=1&sig=hunter22&se=2")
        library.warning("100%% of %(name)s", {"name": SECRETS["HOOK_SECRET"][0]})
        library.warning("malformed %d", "token=hunter22")
        try:
            raise RuntimeError("at https://user:hunter22@example.org/")
        except RuntimeError:
            library.exception("failed")
    finally:
        structlog.configure(**before)
        logging.setLogRecordFactory(factory)
    assert "Retrying after" in caplog.text
    assert "RuntimeError" in caplog.text
    assert "hunter22" not in caplog.text
    assert_clean(caplog.text)


def test_what_is_shown_of_settings_and_of_who_holds_a_secret_is_none(read: Settings, tmp_path: Path) -> None:
    assert_clean(repr(read) + str(read) + repr(read.subscription) + repr(read.web))
    assert_clean(read.model_dump_json())

    class Health:
        def live(self) -> bool:
            return True

        def report(self) -> dict[str, str]:
            return {"status": "pass"}

    heartbeat = Heartbeat(read.heartbeat, Health())  # type: ignore[arg-type]
    target = Target.parse(SECRETS["PING_URL"][0], timeout=1, allow_private=False, where="x")
    assert_clean(str(target) + repr(heartbeat))


def test_a_short_secret_does_not_mask_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORT", "price")
    configured.secret("SHORT")
    assert redact_text("the price of A") == "the price of A"


def test_the_exporter_of_azure_monitor_is_told_not_to_report_on_itself(
    read: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL"
    monkeypatch.setenv(name, "false")  # whoever says so himself is heard
    configured.exporter_values(read.telemetry)
    assert os.environ[name] == "false"
    monkeypatch.delenv(name)
    configured.exporter_values(TelemetryConfig(traces="azure_monitor"))
    assert os.environ[name] == "true"
    monkeypatch.setenv(name, "true")
