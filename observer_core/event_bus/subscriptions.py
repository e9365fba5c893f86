"""Subscriptions: who gets which records, from where on, and into what sink."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeInt,
    PlainSerializer,
    SecretStr,
    StringConstraints,
    model_validator,
)

from observer_core.event_bus.matching import Matcher, RecordMatch, Refusal, facts_of
from observer_core.shared.clock import SECOND, format_time, parse_time
from observer_core.shared.config import Config, DurationNs, Name
from observer_core.shared.errors import InputError
from observer_core.shared.records import Decision, Event

Stream = Literal["events", "decisions"]


def _time(value: object) -> object:
    try:
        return parse_time(value) if isinstance(value, str) else value
    except InputError as error:
        raise ValueError(str(error)) from None


class Position(Config):
    """The record at this position of the stream is the first one given (1 is the stream's first)."""

    position: Annotated[int, Field(ge=1)]


class Time(Config):
    """The first record at or after this moment is the first one given."""

    time: Annotated[NonNegativeInt, BeforeValidator(_time), PlainSerializer(format_time, return_type=str)]


class LogSink(Config):
    kind: Literal["log"]


class FileSink(Config):
    """Appends one JSON record a line to `path`."""

    kind: Literal["file"]
    path: Annotated[str, Field(min_length=1)]


class QueueSink(Config):
    """Puts each record as a message on `queue` (a Storage Queue's rules for its name)."""

    kind: Literal["queue"]
    queue: Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:-?[a-z0-9]){2,62}$")]


class WebhookSink(Config):
    """Posts each record to `url`; `secret` signs the body (HMAC-SHA-256) and is never printed."""

    kind: Literal["webhook"]
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+\S*$")]
    timeout: Annotated[DurationNs, Field(gt=0)] = 10 * SECOND
    secret: SecretStr | None = None
    allow_private: bool = False
    """Whether `url` may resolve to a loopback or private address."""


Sink = Annotated[LogSink | FileSink | QueueSink | WebhookSink, Field(discriminator="kind")]


class Subscriber(RecordMatch):
    """Who is given what: the part of a subscription that says which records are its own.

    `always`: neither a silence nor an inhibition keeps anything from it (an audit trail, say).
    """

    name: Name
    stream: Stream = "events"
    always: bool = False

    @model_validator(mode="after")
    def _filters_fit_the_stream(self) -> Subscriber:
        if self.stream == "events" and self.verdicts is not None:
            raise ValueError('verdicts filters decisions; remove it or set stream = "decisions"')
        for name, everything in (("fields", "*" in self.fields), ("tags", self.tags is None)):
            if self.stream == "decisions" and not everything:
                raise ValueError(f'{name} filters events; remove it or set stream = "events"')
        return self


class SubscriptionConfig(Subscriber):
    """One subscriber's stream: from where on, of which domains, and into what sink."""

    domains: Annotated[tuple[Name, ...], Field(min_length=1)] = ("live",)
    """Recordings page nobody unless their domain is named here."""
    start: Literal["beginning", "now"] | Position | Time = "now"
    sink: Sink

    def subscriber(self) -> Subscriber:
        return Subscriber(**{name: getattr(self, name) for name in Subscriber.model_fields})


class Subscription:
    """A subscriber's filters, ready to match."""

    __slots__ = ("_matcher", "config")

    def __init__(self, config: Subscriber) -> None:
        self.config, self._matcher = config, Matcher(config)

    def refusal(self, record: Event | Decision) -> Refusal | None:
        """Which filter keeps the record from the subscriber; None if it is his. Never raises."""
        stream: Stream = "events" if isinstance(record, Event) else "decisions"
        if stream != self.config.stream:
            return Refusal("stream", stream)
        return self._matcher.refusal(facts_of(record))
