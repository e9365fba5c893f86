"""The policies in force in a domain, as its decisions say: those of the newest epoch, not of a file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from observer_core.decision_pipeline.policy import Policy, PolicyMatch
from observer_core.shared.errors import InputError
from observer_core.shared.records import Note
from observer_core.storage.journals import Journals

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_DELETE: Final = "\x7f"


def policies_in_force(journals: Journals, domain: str) -> dict[str, Any]:
    """`models.Policies`: epoch 0 and no items where nothing has been decided yet."""
    journal = journals.open(f"decisions.{domain}")
    epoch = journal.head().epoch
    row = journal.epoch_row(epoch) if epoch else None
    if row is None:
        return {"domain": domain, "epoch": 0, "version": None, "items": []}
    note = journal.entry(row["position"]).record
    assert isinstance(note, Note)
    return {
        "domain": domain, "epoch": epoch, "version": row["version"],
        "items": [
            {"name": one["name"], "version": one["version"], "text": policy_toml(one), "settings": one}
            for one in note.body["config"]["policies"]
        ],
    }  # fmt: skip


def policy_toml(settings: Mapping[str, Any]) -> str:
    """TOML that loads back as the same policy. What is not a policy is written as plain keys.

    As somebody would write it: what was not given (null, and what this version takes by default) is
    left out. What this version does not understand as a policy is written in full.
    """
    try:
        given, head = _given(Policy.model_validate(settings)), "[[policy]]\n"
    except ValidationError:
        given, head = dict(settings), "[[policy]]\n" if {"name", "verdict"} <= settings.keys() else ""
    return head + "".join(
        f"{_key(key)} = {_value(item)}\n" for key, item in given.items() if item is not None
    )


def _given(policy: Policy) -> dict[str, Any]:
    """What has to be said of a policy to have it again."""
    values = policy.model_dump(mode="json", exclude_defaults=True)
    if policy.until is not None and policy.until.match is not None:
        until = values["until"]
        until["match"] = _match(policy.until.match)
        if policy.until.per == "series":
            del until["per"]
    return values


def _match(match: PolicyMatch) -> dict[str, Any]:
    return match.model_dump(mode="json", exclude_defaults=True)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace(_DELETE, r"\u007f")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items() if item is not None)
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        items = [_value(item) for item in value]
        if any(isinstance(item, Mapping) for item in value):
            return "[\n" + "".join(f"    {item},\n" for item in items) + "]"
        return f"[{', '.join(items)}]"
    raise InputError(f"{value!r} cannot be written in TOML")
