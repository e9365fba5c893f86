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
from observer_core.safety.breaker import BreakerConfig
from observer_core.shared.clock import SECOND, format_time, parse_time
from observer_core.shared.config import Config, DurationNs, EnvSecret, Name
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
    """Posts each record to `url`; `secret` signs the body (HMAC-SHA-256) and is never printed.

    A secret is given by name (`{ env = "HOOK_SECRET" }`), or as it is.
    """

    kind: Literal["webhook"]
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+\S*$")]
    timeout: Annotated[DurationNs, Field(gt=0)] = 10 * SECOND
    secret: EnvSecret | SecretStr | None = None
    allow_private: bool = False
    """Whether `url` may resolve to a loopback or private address."""


Mailbox = Annotated[str, StringConstraints(pattern=r"^[^\s@<>]+@[^\s@<>]+$")]


class SlackSink(Config):
    """Tells a Slack channel: by an incoming webhook (`url`), or with a bot's `token` in a `channel`.

    What belongs to an incident is told by the incident's own events alone. With a token an incident is
    one message that is updated; an incoming webhook cannot do that, so it posts each change.
    """

    kind: Literal["slack"]
    url: EnvSecret | None = None
    token: EnvSecret | None = None
    channel: Annotated[str, StringConstraints(pattern=r"^[CGD][A-Z0-9]{2,}$")] | None = None
    timeout: Annotated[DurationNs, Field(gt=0)] = 10 * SECOND
    api: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+\S*$")] = "https://slack.com/api"
    allow_private: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> SlackSink:
        if (self.url is None) == (self.token is None):
            raise ValueError("a slack sink has url = { env = … } (incoming webhook) or token = { env = … }")
        if (self.token is None) != (self.channel is None):
            raise ValueError("token and channel (its id, as C0123ABCD) belong together")
        return self


class TeamsSink(Config):
    """Posts an Adaptive Card to a Teams workflow or connector webhook."""

    kind: Literal["teams"]
    url: EnvSecret
    timeout: Annotated[DurationNs, Field(gt=0)] = 10 * SECOND
    allow_private: bool = False


class EmailSink(Config):
    """Sends mail by SMTP with TLS: one a record, or one a group of them (`group_by` in its route)."""

    kind: Literal["email"]
    host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:-]+$")]
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    tls: Literal["starttls", "tls"] = "starttls"
    sender: Mailbox
    to: Annotated[tuple[Mailbox, ...], Field(min_length=1)]
    user: str | None = None
    password: EnvSecret | None = None
    timeout: Annotated[DurationNs, Field(gt=0)] = 20 * SECOND
    ca_file: str | None = None
    """Whom to trust instead of the machine's authorities (a server with a certificate of its own)."""

    @model_validator(mode="after")
    def _both_or_none(self) -> EmailSink:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password belong together")
        return self


Sink = Annotated[
    LogSink | FileSink | QueueSink | WebhookSink | SlackSink | TeamsSink | EmailSink,
    Field(discriminator="kind"),
]


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
    """One subscriber's stream: from where on, of which domains, and into what sink.

    `max_age`: what is older when its turn comes (after a long stop, say) is recorded, not sent; not in
    recordings, whose time is another. `max_rate`: records a second at most. `breaker`: how long the sink
    is let be after failures in a row. `max_attempts`: after so many a record becomes a dead letter.
    """

    domains: Annotated[tuple[Name, ...], Field(min_length=1)] = ("live",)
    """Recordings page nobody unless their domain is named here."""
    start: Literal["beginning", "now"] | Position | Time = "now"
    max_age: Annotated[DurationNs, Field(gt=0)] | None = None
    max_rate: Annotated[float, Field(gt=0, le=10_000)] | None = None
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 12
    breaker: BreakerConfig = BreakerConfig(longest=300 * SECOND)
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
