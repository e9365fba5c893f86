"""Subscriptions of the configuration as deliverers, and the threads that run them."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from observer_core.automation.delivery import Deliverer
from observer_core.automation.sinks.sink import Sink
from observer_core.event_bus.subscriptions import (
    FileSink,
    LogSink,
    QueueSink,
    Subscription,
    SubscriptionConfig,
)
from observer_core.runtime.observer import Observer
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import InputError, ObserverError

_log = structlog.get_logger("observer.delivery")
_IDLE_SECONDS = 1.0


def deliverer(
    observer: Observer, subscription: str, domain: str, *, stopped: Callable[[], bool] = lambda: False
) -> Deliverer:
    """The deliverer of a configured subscription in one of its domains."""
    for config in observer.settings.subscription:
        if config.name == subscription:
            return _deliverer(observer, config, domain, stopped)
    known = ", ".join(item.name for item in observer.settings.subscription) or "none"
    raise InputError(f"there is no subscription {subscription!r}; configured are: {known}")


def _deliverer(
    observer: Observer, config: SubscriptionConfig, domain: str, stopped: Callable[[], bool]
) -> Deliverer:
    return Deliverer(
        observer.journals,
        Subscription(config),
        domain,
        _sink(observer, config),
        observer.clock,
        observer.build,
        stopped=stopped,
    )


def _sink(observer: Observer, config: SubscriptionConfig) -> Sink:
    sink = config.sink
    if isinstance(sink, LogSink):
        from observer_core.automation.sinks.log import LogSink as ToLog

        return ToLog(config.name)
    if isinstance(sink, FileSink):
        from observer_core.automation.sinks.file import FileSink as ToFile

        path = observer.settings.paths.root / sink.path
        return ToFile(path, fsync=observer.settings.durability == "full", name=config.name)
    if isinstance(sink, QueueSink):
        from observer_core.automation.sinks.queue import QueueSink as ToQueue

        return ToQueue(observer.storage.queues, sink.queue, name=config.name)
    from observer_core.automation.sinks.webhook import WebhookSink as ToWebhook

    secret = None if sink.secret is None else sink.secret.get_secret_value()
    return ToWebhook(
        sink.url,
        secret=secret,
        timeout=sink.timeout / SECOND,
        allow_private=sink.allow_private,
        name=config.name,
    )


class Deliveries:
    """One thread a subscription and domain: a slow sink holds up nobody else."""

    def __init__(self, observer: Observer, domains: list[str]) -> None:
        self._observer = observer
        self._stop = threading.Event()
        self._wakes: list[threading.Event] = []
        self._threads: list[threading.Thread] = []
        self._deliverers: list[Deliverer] = []
        for config in observer.settings.subscription:
            for domain in sorted(set(config.domains) & set(domains)):
                self._add(_deliverer(observer, config, domain, self._stop.is_set))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """There is something new."""
        for wake in self._wakes:
            wake.set()

    def stop(self) -> None:
        """Lets every deliverer finish the record it is at, and no more."""
        self._stop.set()
        self.wake()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=15.0)
        for item in self._deliverers:
            item.close()

    def _add(self, item: Deliverer) -> None:
        wake = threading.Event()
        self._deliverers.append(item)
        self._wakes.append(wake)
        name = f"deliver {item.domain}/{item.name}"
        self._threads.append(threading.Thread(target=self._serve, args=(item, wake), name=name, daemon=True))

    def _serve(self, item: Deliverer, wake: threading.Event) -> None:
        while not self._stop.is_set():
            try:
                item.pump()
            except ObserverError as error:
                _log.error("delivery stopped for now", subscription=item.name, error=str(error))
            except Exception:
                # A defect of one sink; the thread goes on, for nobody would miss it.
                _log.exception("delivery failed", subscription=item.name)
            wake.wait(_IDLE_SECONDS)
            wake.clear()
