"""Control: what a second person must confirm. A request is a record, and so is what becomes of it.

Nothing that needs two persons is done by one: until another one has confirmed it in time, it has
not happened. What tells two persons apart is what the records hold of them: the author, a free
text, and the authenticated principal where there is one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from observer_core.decision_pipeline.blocking import OPERATOR
from observer_core.decision_pipeline.ruling import rule
from observer_core.decision_pipeline.views import request_entry
from observer_core.shared.clock import SECOND, format_duration, format_time
from observer_core.shared.config import Config, DurationNs
from observer_core.shared.records import Decision, Json
from observer_core.shared.timers import Timers

MAX_REQUESTS = 64
"""More than these do not wait at once: all of them stand in one row of the views."""

Confirmable = Literal["block", "release", "override", "rearm", "kill", "unkill"]


class ControlConfig(Config):
    """`two_person`: the commands that a second person must confirm, `confirm_within` so long.

    `warn_before`: how long before an override ends it is said that it will (0s: never).
    """

    two_person: tuple[Confirmable, ...] = ()
    confirm_within: Annotated[DurationNs, Field(gt=0)] = 900 * SECOND
    warn_before: Annotated[DurationNs, Field(ge=0)] = 300 * SECOND

    @model_validator(mode="after")
    def _named_once(self) -> ControlConfig:
        twice = sorted({name for name in self.two_person if self.two_person.count(name) > 1})
        if twice:
            raise ValueError(f"two_person: {twice[0]!r} is given twice; name each command once")
        return self


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks: `author` is what was typed, `principal` who that was proved to be (None: nobody has)."""

    author: str
    principal: str | None = None

    def may_be(self, other: Person) -> bool:
        """Whether both may be one person: the same author, or the same principal."""
        if _plain(self.author) == _plain(other.author):
            return True
        return self.principal is not None and self.principal == other.principal


@dataclass(slots=True, kw_only=True)
class Request:
    """A command that waits. `ref` is the record that asked, `expires_ns` when it is too late."""

    ref: str
    command: str
    scope: str
    author: str
    principal: str | None
    reason: str
    until_ns: int | None
    policy: str | None
    expires_ns: int
    entry: Json = field(default_factory=dict)

    @property
    def person(self) -> Person:
        return Person(self.author, self.principal)

    def same_as(self, other: Request) -> bool:
        """Whether both ask for the same thing, whoever asks."""
        mine = (self.command, self.scope, self.until_ns, self.policy)
        return mine == (other.command, other.scope, other.until_ns, other.policy)


class Requests:
    """The requests of a domain that wait for a second person."""

    def __init__(self, timers: Timers, config: ControlConfig) -> None:
        self.config = config
        self._timers = timers
        self._waiting: dict[str, Request] = {}
        self.version = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def find(self, ref: str) -> Request | None:
        return self._waiting.get(ref)

    def twin_of(self, request: Request) -> Request | None:
        """One that waits already and asks for the same."""
        return next((r for r in self._waiting.values() if r.same_as(request)), None)

    def ask(self, request: Request, time_ns: int) -> Decision:
        """From now on it waits."""
        within = format_duration(self.config.confirm_within)
        text = (
            f"{request.command} of {request.scope}, asked by {request.author}, waits for a second person "
            f"to confirm {request.ref} within {within}: {request.reason}"
        )
        reason = {
            "code": "needs_confirmation", "text": text, "request": request.ref, "command": request.command,
            "author": request.author, "principal": request.principal, "expires_ns": request.expires_ns,
            "until_ns": request.until_ns, "policy": request.policy,
        }  # fmt: skip
        decision = rule(
            "non_execution", request.scope, policy=OPERATOR, reason=reason, time_ns=time_ns,
            causation=(request.ref,), severity="warning",
        )  # fmt: skip
        request.entry = request_entry(decision)
        self._waiting[request.ref] = request
        self._timers.arm(request.expires_ns, "request", request.ref)
        self.version += 1
        return decision

    def confirm(self, request: Request, by: Person, time_ns: int, ref: str) -> Decision:
        """It does not wait any more; what it asks for is for the caller to do."""
        text = f"{request.command} of {request.scope}, asked by {request.author}, is confirmed by {by.author}"
        reason = {
            "code": "confirmed", "text": text, "request": request.ref, "command": request.command,
            "author": request.author, "principal": request.principal,
            "confirmed_by": by.author, "confirmed_principal": by.principal,
        }  # fmt: skip
        self._forget(request)
        return rule(
            "judgment", request.scope, policy=OPERATOR, reason=reason, time_ns=time_ns,
            causation=(request.ref, ref), severity="warning",
        )  # fmt: skip

    def expire(self, ref: str, due_ns: int) -> Decision:
        request = self._waiting[ref]
        self._forget(request)
        text = (
            f"{request.command} of {request.scope}, asked by {request.author}, was not confirmed "
            f"until {format_time(due_ns)} and is not done"
        )
        reason = {
            "code": "not_confirmed", "text": text, "request": ref, "command": request.command,
            "author": request.author, "principal": request.principal,
        }  # fmt: skip
        return rule(
            "non_execution", request.scope, policy=OPERATOR, reason=reason, time_ns=due_ns,
            causation=(ref,), severity="warning",
        )  # fmt: skip

    def entries(self) -> list[Json]:
        """What the view says of them, the oldest first."""
        return [request.entry for request in self._waiting.values()]

    def dump(self) -> Json:
        plain = [
            {item.name: getattr(request, item.name) for item in fields(request)}
            for request in self._waiting.values()
        ]
        return {"requests": plain, "version": self.version}

    def load(self, value: Json) -> None:
        requests: Iterable[dict[str, Any]] = value.get("requests", ())
        self._waiting = {plain["ref"]: Request(**plain) for plain in requests}
        self.version = value.get("version", 0)

    def _forget(self, request: Request) -> None:
        del self._waiting[request.ref]
        self._timers.disarm("request", request.ref)
        self.version += 1


def _plain(author: str) -> str:
    return " ".join(author.casefold().split())
