"""Silences: nothing that they take is told while they last; everything is recorded all the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from observer_core.event_bus.router import SilenceRequest
from observer_core.runtime.acts.ground import LATEST_NS, Asked, By, Ground, Unknown
from observer_core.shared.clock import format_time
from observer_core.shared.config import explain
from observer_core.shared.errors import InputError
from observer_core.storage.once import Once

Span = Callable[[int], tuple[int, int]]
"""From when to when a silence lasts, by what time it is in its domain."""


def add(
    ground: Ground, domain: str | None, match: Mapping[str, Sequence[str]], span: Span, by: By,
    once: Once | None = None,
) -> Asked:  # fmt: skip
    """Asks for a silence of what `match` takes (all of the domain where that is empty)."""
    name = ground.one_domain(domain, "a silence is of one domain")
    if (told := ground.told(name, once)) is not None:
        return told
    now_ns = ground.now_ns(name)
    start_ns, end_ns = span(now_ns)
    if end_ns >= LATEST_NS:
        raise InputError("the silence would end after the year 2261; give it an earlier end")
    if end_ns <= now_ns:
        raise InputError(
            f"the silence would end at {format_time(end_ns)}, and it is {format_time(now_ns)} in {name}"
        )
    asked = {
        "match": {key: list(globs) for key, globs in match.items()}, "author": by.author,
        "reason": by.reason, "start_ns": start_ns, "end_ns": end_ns,
    }  # fmt: skip
    try:
        SilenceRequest.model_validate(asked)
    except ValidationError as error:
        raise explain(error, "silence") from None
    body = {"action": "add", **asked, **by.checked().to_json()}
    text = f"silence in domain {name} from {format_time(start_ns)} to {format_time(end_ns)}: {spelled(match)}"
    return ground.ask(name, "silence", body, now_ns, text, once)


def end(ground: Ground, silence: str, by: By, once: Once | None = None) -> Asked:
    """Asks for the end of a silence before its time; `Unknown` when it does not stand."""
    name = silence.rpartition("@")[0].partition(".")[2]
    known = name in ground.domains()
    if known and (told := ground.told(name, once)) is not None:
        return told
    views = ground.journals.open(f"routes.{name}").views("silences") if known else {}
    if silence not in {item["id"] for item in views.get("silences", {}).get("silences", [])}:
        raise Unknown(f"there is no silence {silence!r}; `observer silences ls` lists them")
    body = {"action": "end", "id": silence, **by.checked().to_json()}
    text = f"end of silence {silence}"
    return ground.ask(name, "silence", body, ground.now_ns(name), text, once)


def spelled(match: Mapping[str, Any]) -> str:
    """The filters that keep anything out."""
    kept = {key: globs for key, globs in match.items() if isinstance(globs, list | tuple) and globs != ["*"]}
    return "; ".join(f"{key} {', '.join(globs)}" for key, globs in sorted(kept.items())) or "everything"
