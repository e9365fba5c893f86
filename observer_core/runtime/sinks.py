"""The sinks that subscriptions name, each imported where it is needed."""

from __future__ import annotations

from pydantic import SecretStr

from observer_core.automation.sinks.sink import Sink
from observer_core.event_bus import subscriptions as configured
from observer_core.event_bus.subscriptions import SubscriptionConfig
from observer_core.runtime import settings
from observer_core.runtime.observer import Observer
from observer_core.shared.clock import SECOND
from observer_core.shared.config import EnvSecret


def sink_of(observer: Observer, config: SubscriptionConfig) -> Sink:
    """`ConfigError` where the environment lacks a secret that the sink needs."""
    sink, name = config.sink, config.name
    match sink:
        case configured.LogSink():
            from observer_core.automation.sinks.log import LogSink

            return LogSink(name)
        case configured.FileSink():
            from observer_core.automation.sinks.file import FileSink

            path = observer.settings.paths.root / sink.path
            return FileSink(path, fsync=observer.settings.durability == "full", name=name)
        case configured.QueueSink():
            from observer_core.automation.sinks.queue import QueueSink

            return QueueSink(observer.storage.queues, sink.queue, name=name)
        case configured.SlackSink():
            from observer_core.automation.sinks.slack import SlackSink

            return SlackSink(
                url=_secret(sink.url), token=_secret(sink.token), channel=sink.channel, api=sink.api,
                timeout=sink.timeout / SECOND, allow_private=sink.allow_private, name=name,
            )  # fmt: skip
        case configured.TeamsSink():
            from observer_core.automation.sinks.teams import TeamsSink

            return TeamsSink(
                settings.secret(sink.url.env), timeout=sink.timeout / SECOND,
                allow_private=sink.allow_private, name=name,
            )  # fmt: skip
        case configured.EmailSink():
            from observer_core.automation.sinks.email import EmailSink

            return EmailSink(
                sink.host, sink.port, sender=sink.sender, to=sink.to, tls=sink.tls, user=sink.user,
                password=_secret(sink.password), timeout=sink.timeout / SECOND, ca_file=sink.ca_file,
                name=name,
            )  # fmt: skip
        case configured.WebhookSink():
            from observer_core.automation.sinks.webhook import WebhookSink

            return WebhookSink(
                sink.url, secret=_secret(sink.secret), timeout=sink.timeout / SECOND,
                allow_private=sink.allow_private, name=name,
            )  # fmt: skip


def _secret(given: EnvSecret | SecretStr | None) -> str | None:
    if given is None:
        return None
    return settings.secret(given.env) if isinstance(given, EnvSecret) else given.get_secret_value()
