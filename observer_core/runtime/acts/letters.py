"""Dead letters: sent again, to their queues or subscribers, or said to need no answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from observer_core.automation.dead_letters import JOURNAL, DeadLetters, Letter
from observer_core.runtime.acts.ground import Asked, By
from observer_core.runtime.deliveries import sender
from observer_core.runtime.observer import Observer
from observer_core.shared.errors import InputError
from observer_core.storage.once import Once

DOMAIN = JOURNAL.partition(".")[2]


def redrive(
    letters: DeadLetters, letter: Letter, by: By, resend: Callable[[Mapping[str, Any]], None],
    once: Once | None = None,
) -> Asked:  # fmt: skip
    """Sends it again and records that. A hint repeats nothing; a subscriber knows a record by its id."""
    by.checked()
    ref = letters.redrive(
        letter, author=by.author, reason=by.reason, principal=by.principal, resend=resend, request=once
    )
    return Asked(ref=ref, text=f"sent again: {letter.queue}", domain=DOMAIN)


def drop(letters: DeadLetters, letter: Letter, by: By, once: Once | None = None) -> Asked:
    """Records that it needs no answer any more. Nothing is deleted."""
    by.checked()
    ref = letters.drop(letter, author=by.author, reason=by.reason, principal=by.principal, request=once)
    return Asked(ref=ref, text=f"dropped: {letter.queue}", domain=DOMAIN)


def resend(observer: Observer, body: Mapping[str, Any]) -> None:
    """Gives a subscriber the record of a letter again; `InputError` where that fails again."""
    it = sender(observer, body["subscription"], body["domain"])
    try:
        result = it.again(body["ref"])
    finally:
        it.close()
    if result.outcome in ("failed", "dropped"):
        raise InputError(f"{body['subscription']} did not take {body['ref']}: {result.detail}")


def text_of(letter: Letter) -> str:
    """What the message said."""
    return letter.body.decode(errors="backslashreplace")
