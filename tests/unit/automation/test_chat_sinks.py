"""Slack and Teams against a server of ours: what they are sent, and what their answers mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from observer_core.automation.sinks.message import message_of
from observer_core.automation.sinks.slack import SlackSink
from observer_core.automation.sinks.teams import TeamsSink
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import DeliveryError
from tests.support.receiver import Server, receiving

EVENTS = "application/cloudevents+json"
TOKEN = "xoxb-hunter2"
STALE = {"severitytext": "info", "type": "io.qts.observer.feed.stale", "subject": "ETH/USDT", "time": "t"}


@pytest.fixture
def server() -> Iterator[Server]:
    with receiving() as running:
        yield running


def event(kind: str = "pattern.price_shock", incident: str = "", **data: Any) -> bytes:
    values = {
        "series": [["binance", "BTC/USDT", "last"]], "score": 0.71, "direction": "down", "tags": ["desk-a"],
        "evidence": {"value": 61000.5, "sigmas": 17.25}, **data,
    }  # fmt: skip
    return orjson.dumps({
        "id": "e1", "type": f"io.qts.observer.{kind}", "source": "/qts/observer/live/binance",
        "subject": "BTC/USDT", "time": "2026-11-28T09:30:00Z", "severitytext": "critical",
        "correlationid": incident, "data": values,
    })  # fmt: skip


def incident(kind: str = "incident.opened") -> bytes:
    return event(
        kind, "i1", id="i1", opened_ns=1_800_000_000 * SECOND, series_count=5,
        patterns={"price_shock": 3, "feed_stale": 2}, series=[["binance", "BTC/USDT", "last"]],
    )  # fmt: skip


def slack(server: Server, path: str = "/200", **given: Any) -> SlackSink:
    return SlackSink(url=server.url + path, allow_private=True, timeout=1.0, **given)


def bot(server: Server) -> SlackSink:
    return SlackSink(token=TOKEN, channel="C0123ABCD", api=server.url, allow_private=True, timeout=1.0)


def sent(server: Server, number: int = -1) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(server.requests[number][2])
    return found


def failure(act: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        act()
    return caught.value


def send(sink: Any, body: bytes, *, replay: bool = False) -> int | None:
    code: int | None = sink.send("e1", body, content_type=EVENTS, replay=replay)
    return code


# ---------------------------------------------------------------------- what people read


@pytest.mark.parametrize(
    ("body", "title", "line"),
    [
        (event(), "critical: price_shock on BTC/USDT (binance)", "value 61000.5, sigmas 17.25"),
        (event("feed.stale"), "critical: feed stale on BTC/USDT (binance)", "score 0.71, down"),
        (incident(), "critical: incident opened at BTC/USDT", "feed_stale ×2, price_shock ×3"),
        (
            event("decision.block", verdict="block", reasons=[{"code": "x", "text": "halt: because"}],
                  policy="halt", until_ns=1_800_000_000 * SECOND),
            "critical: block BTC/USDT", "policy halt, until 2027-01-15T08:00:00Z",
        ),
        (
            event("notification", count=2, records=[STALE]),
            "critical: 2 records: BTC/USDT", "info  feed stale  ETH/USDT  t",
        ),
    ],
)  # fmt: skip
def test_every_kind_of_record_has_a_title_and_lines(body: bytes, title: str, line: str) -> None:
    message = message_of(body)
    assert message.title == title
    assert line in message.lines
    assert message.text.endswith("2026-11-28T09:30:00Z  e1")


# ---------------------------------------------------------------------- Slack


def test_a_message_has_text_and_blocks_within_the_limits(server: Server) -> None:
    huge = event(series=[["s", "x" * 200 + "<&>", "f"]] * 90, evidence={f"n{i}": "y" * 900 for i in range(9)})
    assert send(slack(server), huge) == 200
    body = sent(server)
    assert 0 < len(body["text"]) <= 4000
    assert "<&>" not in body["text"]
    header, section, context = body["blocks"]
    assert (header["type"], context["type"]) == ("header", "context")
    assert len(header["text"]["text"]) <= 150
    assert len(section["text"]["text"]) <= 3000
    assert section["text"]["text"].endswith("…")


def test_records_of_an_incident_are_folded_and_its_own_are_not(server: Server) -> None:
    sink = slack(server)
    assert sink.folds(event(incident="i1"))
    assert not sink.folds(event())
    assert not sink.folds(incident())
    assert not sink.folds(
        event("decision.block", "i1", verdict="block", reasons=[], policy="p", until_ns=None)
    )
    assert (sink.thread_of(event()), sink.thread_of(incident("incident.resolved"))) == ("", "i1")


def test_with_a_token_an_incident_is_one_message_that_is_updated(server: Server) -> None:
    good = (200, {}, b'{"ok":true,"ts":"171.5"}')
    server.answers = {"/chat.postMessage": [good], "/chat.update": [good]}
    sink = bot(server)
    assert sink.send_in(incident(), replay=False, earlier=None) == (200, "171.5")
    assert sink.send_in(incident("incident.updated"), replay=False, earlier="171.5") == (200, "171.5")
    assert [path for path, _, _ in server.requests] == ["/chat.postMessage", "/chat.update"]
    assert server.requests[0][1]["Authorization"] == f"Bearer {TOKEN}"
    assert (sent(server)["channel"], sent(server)["ts"]) == ("C0123ABCD", "171.5")


def test_a_message_that_is_gone_is_posted_anew(server: Server) -> None:
    server.answers = {
        "/chat.update": [(200, {}, b'{"ok":false,"error":"message_not_found"}')],
        "/chat.postMessage": [(200, {}, b'{"ok":true,"ts":"172.0"}')],
    }
    assert bot(server).send_in(incident("incident.updated"), replay=False, earlier="171.5") == (200, "172.0")


@pytest.mark.parametrize(
    ("answer", "retry", "wait_s", "says"),
    [
        ((200, {}, b'{"ok":false,"error":"channel_not_found"}'), False, 0, "channel_not_found"),
        ((200, {"Retry-After": "7"}, b'{"ok":false,"error":"ratelimited"}'), True, 7, "ratelimited"),
        ((429, {"Retry-After": "30"}, b""), True, 30, "answered 429"),
        ((429, {"Retry-After": "never"}, b""), True, 0, "answered 429"),
        ((500, {}, b""), True, 0, "answered 500"),
        ((403, {}, b"invalid_token"), False, 0, "answered 403"),
        ((302, {"Location": "http://127.0.0.1/"}, b""), False, 0, "a redirect"),
        ((200, {}, b"<html>"), True, 0, "did not answer with a JSON object"),
    ],
)
def test_what_the_answers_of_slack_mean(
    server: Server, answer: tuple[int, dict[str, str], bytes], retry: bool, wait_s: int, says: str
) -> None:
    server.answers = {"/chat.postMessage": [answer]}
    error = failure(lambda: bot(server).send_in(incident(), replay=False, earlier=None))
    assert (error.retry, error.wait_ns) == (retry, wait_s * SECOND)
    assert says in str(error)
    assert TOKEN not in str(error) + repr(bot(server))


def test_a_hook_that_is_slow_or_private_is_a_failure(server: Server) -> None:
    assert failure(lambda: send(slack(server, "/silent"), event())).retry
    private = SlackSink(url=server.url + "/200", timeout=1.0)
    error = failure(lambda: send(private, event()))
    assert not error.retry
    assert "not a public address" in str(error)
    assert server.requests == [] or all(path == "/silent" for path, _, _ in server.requests)


def test_a_body_that_trickles_and_a_server_without_tls_are_failures_to_be_tried_again(server: Server) -> None:
    slow = SlackSink(
        token=TOKEN, channel="C0123ABCD", api=f"{server.url}/slow-body?", allow_private=True, timeout=0.3
    )
    error = failure(lambda: slow.send_in(incident(), replay=False, earlier=None))
    assert error.retry
    assert "did not answer within 0.3 s" in str(error)
    plain = SlackSink(url=server.url.replace("http:", "https:") + "/200", allow_private=True, timeout=1.0)
    assert failure(lambda: send(plain, event())).retry


# ---------------------------------------------------------------------- Teams


def test_a_card_holds_what_the_message_says(server: Server) -> None:
    sink = TeamsSink(server.url + "/202", allow_private=True)
    assert send(sink, event(), replay=True) == 202
    (attachment,) = sent(server)["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert card["body"][0]["text"] == "(replay) critical: price_shock on BTC/USDT (binance)"
    assert "value 61000.5" in card["body"][1]["text"]


@pytest.mark.parametrize(
    ("path", "retry"), [("/500", True), ("/429", True), ("/400", False), ("/302", False)]
)
def test_what_the_answers_of_teams_mean(server: Server, path: str, retry: bool) -> None:
    sink = TeamsSink(server.url + path, allow_private=True)
    assert failure(lambda: send(sink, event())).retry is retry
    assert path not in repr(sink)
