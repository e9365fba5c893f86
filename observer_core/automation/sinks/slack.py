"""Delivery to a Slack channel."""

from __future__ import annotations

from typing import Any

import orjson

from observer_core.automation.sinks.message import Message, message_of
from observer_core.automation.sinks.posting import post, retry_after_ns
from observer_core.safety.outbound import Target
from observer_core.shared.errors import DeliveryError

_HEADER, _SECTION, _TEXT = 150, 3000, 4000
_ANSWER_BYTES = 64 * 1024
_LATER = frozenset(("ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable",
                    "request_timeout"))  # fmt: skip
_GONE = frozenset(("message_not_found", "cant_update_message", "edit_window_closed"))
_MARKS = {"critical": "🔴", "warning": "🟠", "info": "🔵"}


class SlackSink:
    """One message a record, within Block Kit's limits, always with `text` (which screen readers read).

    Records of an incident are folded into it: only the incident's own events are sent. With a token an
    incident is one message: `chat.update` of the one that `earlier` names, a new one where that is gone.
    By an incoming webhook every change is a message, for it gives no name to its messages.
    """

    def __init__(
        self, *, url: str | None = None, token: str | None = None, channel: str | None = None,
        api: str = "https://slack.com/api", timeout: float = 10.0, allow_private: bool = False,
        name: str = "slack",
    ) -> None:  # fmt: skip
        self.name = name
        self._token, self._channel = token, channel
        where = f"slack {name!r}"

        def at(address: str) -> Target:
            return Target.parse(address, timeout=timeout, allow_private=allow_private, where=where)

        if url is not None:
            self._hook: Target | None = at(url)
        else:
            self._hook = None
            self._post, self._update = at(f"{api}/chat.postMessage"), at(f"{api}/chat.update")

    def __repr__(self) -> str:
        return f"SlackSink({str(self._hook or self._post)!r}, name={self.name!r})"

    def thread_of(self, body: bytes) -> str:
        """The incident that a record belongs to, or empty."""
        return message_of(body).incident

    def folds(self, body: bytes) -> bool:
        """Whether the record is told by its incident's own events."""
        message = message_of(body)
        return bool(message.incident) and not message.kind.startswith(("incident.", "decision."))

    def send(self, record_id: str, body: bytes, *, content_type: str, replay: bool) -> int | None:
        return self.send_in(body, replay=replay, earlier=None)[0]

    def send_in(self, body: bytes, *, replay: bool, earlier: str | None) -> tuple[int | None, str | None]:
        """The answer's code, and the name of the message, by which a later one can update it."""
        message = message_of(body)
        content = blocks(message, replay=replay)
        if self._hook is not None:
            return post(self._hook, content).status, None
        content |= {"channel": self._channel, "unfurl_links": False}
        if earlier and message.kind.startswith("incident."):
            try:
                return self._call(self._update, {**content, "ts": earlier})
            except _Gone:
                pass
        return self._call(self._post, content)

    def already_has(self, record_id: str) -> bool:
        return False

    def close(self) -> None:
        pass

    def _call(self, target: Target, content: dict[str, Any]) -> tuple[int, str | None]:
        answer = post(target, content, {"Authorization": f"Bearer {self._token}"}, max_bytes=_ANSWER_BYTES)
        try:
            said = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            said = None
        if not isinstance(said, dict):
            raise DeliveryError(f"{target} did not answer with a JSON object", answer.status)
        if said.get("ok"):
            return answer.status, str(said["ts"]) if "ts" in said else None
        error = str(said.get("error", "unknown_error"))[:80]
        if error in _GONE:
            raise _Gone
        raise DeliveryError(
            f"{target} refused the message: {error}", answer.status, retry=error in _LATER,
            wait_ns=retry_after_ns(answer),
        )  # fmt: skip


class _Gone(Exception):
    """The message to update is not there any more."""


def blocks(message: Message, *, replay: bool) -> dict[str, Any]:
    """Block Kit and `text` of a message; what is too long is cut, visibly."""
    title = f"{_MARKS.get(message.severity, '')} {message.title}".strip()
    if replay:
        title = f"(replay) {title}"
    lines = _cut("\n".join(map(_escaped, message.lines)), _SECTION)
    found: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": _cut(title, _HEADER), "emoji": True}}
    ]
    if lines:
        found.append({"type": "section", "text": {"type": "mrkdwn", "text": lines}})
    foot = _cut(_escaped(f"{message.time}  ·  {message.id}"), _SECTION)
    found.append({"type": "context", "elements": [{"type": "mrkdwn", "text": foot}]})
    return {"text": _cut(_escaped(f"{title}\n" + "\n".join(message.lines)), _TEXT), "blocks": found}


def _escaped(text: str) -> str:
    """Slack's own three control characters."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
