"""Delivery to a Microsoft Teams channel."""

from __future__ import annotations

from typing import Any

from observer_core.automation.sinks.message import Message, message_of
from observer_core.automation.sinks.posting import post
from observer_core.safety.outbound import Target

_LONGEST = 10_000
"""Characters of text; a message of Teams takes 28 KB in all."""
_COLOURS = {"critical": "Attention", "warning": "Warning", "info": "Accent"}


class TeamsSink:
    """Posts each record as an Adaptive Card (schema 1.4) to a workflow's webhook; 2xx alone counts."""

    def __init__(
        self, url: str, *, timeout: float = 10.0, allow_private: bool = False, name: str = "teams"
    ) -> None:
        self.name = name
        self._target = Target.parse(
            url, timeout=timeout, allow_private=allow_private, where=f"teams {name!r}"
        )

    def __repr__(self) -> str:
        return f"TeamsSink({str(self._target)!r}, name={self.name!r})"

    def send(self, record_id: str, body: bytes, *, content_type: str, replay: bool) -> int | None:
        return post(self._target, card(message_of(body), replay=replay)).status

    def already_has(self, record_id: str) -> bool:
        return False

    def close(self) -> None:
        pass


def card(message: Message, *, replay: bool) -> dict[str, Any]:
    title = f"(replay) {message.title}" if replay else message.title
    text = "\n\n".join(message.lines)
    parts: list[dict[str, Any]] = [
        {"type": "TextBlock", "text": title, "weight": "Bolder", "size": "Medium", "wrap": True,
         "color": _COLOURS.get(message.severity, "Default")},
    ]  # fmt: skip
    if text:
        parts.append({"type": "TextBlock", "text": text[:_LONGEST], "wrap": True})
    foot = f"{message.time} · {message.id}"
    parts.append({"type": "TextBlock", "text": foot, "isSubtle": True, "size": "Small", "wrap": True})
    content = {
        "type": "AdaptiveCard", "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": "1.4", "fallbackText": title, "body": parts,
    }  # fmt: skip
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": content}
    return {"type": "message", "attachments": [attachment]}
