"""What counts as a secret, and what does not."""

from __future__ import annotations

import pytest

from observer_core.logs.redaction import is_secret, redact_text, without_paths
from observer_core.safety.tokens import new_token


@pytest.mark.parametrize(
    "name",
    ["token", "TOKEN", "api_key", "apiKey", "key", "keys", "accountKey", "x-authorization", "Authorization",
     "client_secret", "webhookToken", "password", "db.passwd", "connection_string", "sas"],
)  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["monkey", "tokenizer", "secretary", "keyboard", "subject", "design", "sask", "turkeys"]
)
def test_names_of_other_things(name: str) -> None:
    assert not is_secret(name)


def test_text_keeps_all_but_the_secret() -> None:
    text = "GET https://kim:pw@host/a?b=1&sig=abc%2F; AccountKey=xyz==;Endpoint=e, Bearer abcdefgh.ijk"
    assert redact_text(text) == ("GET https://***@host/a?b=1&sig=***; AccountKey=***;Endpoint=e, Bearer ***")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot open '/var/lib/x/journal.db': full", "cannot open '…/journal.db': full"),
        ("/etc/passwd", "…/passwd"),
        ("in C:\\Users\\kim\\x.db now", "in …/x.db now"),
        ("BTC/USDT at https://example.org/a/b", "BTC/USDT at https://example.org/a/b"),
        ("snapshots/source=x/date=2018-04-05/00.ndjson", "snapshots/source=x/date=2018-04-05/00.ndjson"),
    ],
)
def test_absolute_paths_lose_their_folders(text: str, shown: str) -> None:
    assert without_paths(text) == shown


def test_our_own_tokens_are_known_wherever_they_stand() -> None:
    token = new_token()
    for text in (f"GET /v1/gate/{token}?x", f"'{token}'", f"token {token}", f"Bearer {token}", token):
        assert token not in redact_text(text)
    assert redact_text(f"at /x/{token}, twice") == "at /x/***, twice"
    assert redact_text("qts_observer and qts_") == "qts_observer and qts_"
