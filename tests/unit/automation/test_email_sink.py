"""Mail against a server of ours: over TLS or not at all, recognised when it comes again."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from observer_core.automation.sinks.email import EmailSink
from observer_core.shared.errors import DeliveryError
from tests.support.mail import PASSWORD, Post, post_office
from tests.unit.automation.test_chat_sinks import event, incident

EVENTS = "application/cloudevents+json"


def sink(post: Post, **given: Any) -> EmailSink:
    options: dict[str, Any] = {
        "sender": "observer@qts.example", "to": ["ops@qts.example", "desk@qts.example"], "tls": "starttls",
        "ca_file": post.ca_file, "timeout": 5.0, **given,
    }  # fmt: skip
    return EmailSink("127.0.0.1", post.port, **options)


def send(to: EmailSink, body: bytes, *, replay: bool = False) -> int | None:
    return to.send("e1", body, content_type=EVENTS, replay=replay)


def failure(to: EmailSink) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        send(to, event())
    return caught.value


def test_a_record_is_a_mail_that_is_known_again(tmp_path: Path) -> None:
    with post_office(tmp_path) as post:
        assert send(sink(post), event()) == 250
        assert send(sink(post), incident(), replay=True) == 250
    first, second = post.mails
    assert first["Subject"] == "critical: price_shock on BTC/USDT (binance)"
    assert (first["Message-ID"], first["Auto-Submitted"]) == ("<e1@qts.example>", "auto-generated")
    assert first["Date"] == "Sat, 28 Nov 2026 09:30:00 +0000"
    assert first["To"] == "ops@qts.example, desk@qts.example"
    assert "value 61000.5" in first.get_payload(decode=True).decode()
    assert second["Subject"].startswith("(replay) ")
    assert second["References"] == "<incident-i1@qts.example>"


def test_it_logs_in_where_it_must_and_a_wrong_password_is_final(tmp_path: Path) -> None:
    with post_office(tmp_path, login=True) as post:
        assert send(sink(post, user="ops", password=PASSWORD.decode()), event()) == 250
        error = failure(sink(post, user="ops", password="wrong-secret"))
    assert (error.retry, error.code) == (False, 535)
    assert "wrong-secret" not in str(error)


def test_a_server_that_nobody_vouches_for_is_not_spoken_to(tmp_path: Path) -> None:
    with post_office(tmp_path) as post:
        error = failure(sink(post, ca_file=None))
        assert post.mails == []
    assert error.retry
    assert "SSLCertVerificationError" in str(error)


@pytest.mark.parametrize(("answer", "retry"), [("450 mailbox busy", True), ("550 no such user", False)])
def test_what_a_refusal_of_everybody_means(tmp_path: Path, answer: str, retry: bool) -> None:
    with post_office(tmp_path) as post:
        post.refuse = dict.fromkeys(("ops@qts.example", "desk@qts.example"), answer)
        error = failure(sink(post))
    assert (error.retry, error.code) == (retry, int(answer[:3]))


def test_a_refusal_of_one_recipient_is_told_and_the_others_have_the_mail(tmp_path: Path) -> None:
    with post_office(tmp_path) as post:
        post.refuse = {"desk@qts.example": "550 no such user"}
        error = failure(sink(post))
    assert "not for 1 of 2 recipients" in str(error)
    assert len(post.mails) == 1


def test_a_server_that_is_away_or_speaks_no_tls_is_tried_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = failure(sink(Post(port=port), ca_file=None, timeout=0.2))
        assert error.retry
        assert "timed out" in str(error)
    error = failure(sink(Post(port=port), ca_file=None))
    assert error.retry
    assert "ConnectionRefusedError" in str(error)


def test_repr_shows_neither_user_nor_password() -> None:
    assert (
        repr(sink(Post(port=25), user="ops", password="hunter2")) == "EmailSink(127.0.0.1:25, name='email')"
    )
