"""Subscriptions of the configuration as deliverers, and the threads that run them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import structlog

from observer_core.automation.dead_letters import DeadLetters
from observer_core.automation.delivery import Deliverer
from observer_core.event_bus.subscriptions import SubscriptionConfig
from observer_core.logs.context import enter
from observer_core.runtime.observer import Observer
from observer_core.runtime.safe_mode import is_safe
from observer_core.runtime.settings import Settings
from observer_core.runtime.sinks import sink_of
from observer_core.safety.guards import SAFE_MODE
from observer_core.shared.errors import InputError, ObserverError
from observer_core.storage.journals import Journals

_log = structlog.get_logger("observer.delivery")
_IDLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a subscriber is. `lag`: records that wait for him; None: nothing was placed yet."""

    state: Literal["waiting", "active", "paused"]
    position: int | None
    routed: int | None
    lag: int | None
    attempt: int


def progress(journals: Journals, domain: str, config: SubscriptionConfig) -> Progress:
    stream, routes = journals.open(f"{config.stream}.{domain}"), journals.open(f"routes.{domain}")
    view = routes.views().get("subscriptions", {}).get(config.name)
    results = journals.open(f"results.{domain}-{config.name}")
    own, routed = results.checkpoint(stream.name), results.checkpoint(routes.name)
    cursor, journal = (routed, routes) if routed else (own, stream)
    return Progress(
        state="waiting" if view is None else "paused" if view["paused"] else "active",
        position=None if own is None else own["position"],
        routed=None if routed is None else routed["position"],
        lag=None if cursor is None else max(0, journal.head().position - cursor["position"]),
        attempt=0 if cursor is None else cursor["attempt"],
    )


def subscriptions(journals: Journals, settings: Settings, domain: str) -> dict[str, SubscriptionConfig]:
    """The subscriptions of a domain by name: the configured ones, and those that operators have added."""
    found = {item.name: item for item in settings.subscription if domain in item.domains}
    view = journals.open(f"routes.{domain}").views().get("subscriptions", {})
    for name, known in view.items():
        if known["config"] is not None:
            found[name] = SubscriptionConfig(**known["config"])
    return found


def deliverer(
    observer: Observer, subscription: str, domain: str, *, stopped: Callable[[], bool] = lambda: False
) -> Deliverer:
    """The deliverer of a subscription in one of its domains."""
    known = subscriptions(observer.journals, observer.settings, domain)
    config = known.get(subscription)
    if config is None:
        names = ", ".join(sorted(known)) or "none"
        raise InputError(f"domain {domain} has no subscription {subscription!r}; there are: {names}")
    return _deliverer(observer, config, domain, stopped)


def sender(observer: Observer, subscription: str, domain: str) -> Deliverer:
    """The deliverer for what somebody sends by hand: not beside an Observer that is in safe mode."""
    if is_safe(observer.journals, observer.settings):
        raise InputError(f"nothing is sent to {subscription} now: {SAFE_MODE}")
    return deliverer(observer, subscription, domain)


def _deliverer(
    observer: Observer, config: SubscriptionConfig, domain: str, stopped: Callable[[], bool]
) -> Deliverer:
    return Deliverer(
        observer.journals,
        config,
        domain,
        sink_of(observer, config),
        observer.clock,
        observer.build,
        routed=True,
        letters=DeadLetters(observer.journals, observer.storage.queues, observer.clock),
        stopped=stopped,
        withheld=observer.guards.withheld,
    )


class Deliveries:
    """One thread a subscription and domain: a slow sink holds up nobody else.

    Subscriptions that operators add are taken up within a second, those that they remove let go.
    """

    def __init__(self, observer: Observer, domains: list[str]) -> None:
        self._observer, self._domains = observer, sorted(set(domains))
        self._stop = threading.Event()
        self._threads: dict[tuple[str, str], _Thread] = {}
        self._lock = threading.Lock()
        self._started = False
        self.look()

    def start(self) -> None:
        self._started = True
        for thread in self._threads.values():
            thread.start()

    def look(self) -> None:
        """Takes up subscriptions that are new, and lets go of those that are no more."""
        observer = self._observer
        with self._lock:
            wanted = {
                (domain, name): config
                for domain in self._domains
                for name, config in subscriptions(observer.journals, observer.settings, domain).items()
            }
            for key in [key for key, thread in self._threads.items() if wanted.get(key) != thread.config]:
                self._threads.pop(key).stop()
            for (domain, name), config in wanted.items():
                if (domain, name) not in self._threads and not self._stop.is_set():
                    thread = self._threads[domain, name] = _Thread(observer, config, domain)
                    if self._started:
                        thread.start()

    def wake(self) -> None:
        """There is something new."""
        for thread in list(self._threads.values()):
            thread.wake.set()

    def stop(self) -> None:
        """Lets every deliverer finish the record it is at, and no more."""
        self._stop.set()
        with self._lock:
            for thread in self._threads.values():
                thread.tell()
            for thread in self._threads.values():
                thread.stop()


class _Thread:
    def __init__(self, observer: Observer, config: SubscriptionConfig, domain: str) -> None:
        self.config, self.wake = config, threading.Event()
        self._stop = threading.Event()
        self._item = _deliverer(observer, config, domain, self._stop.is_set)
        self._thread = threading.Thread(
            target=self._serve, name=f"deliver {domain}/{config.name}", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def tell(self) -> None:
        self._stop.set()
        self.wake.set()

    def stop(self) -> None:
        self.tell()
        if self._thread.is_alive():
            self._thread.join(timeout=15.0)
        self._item.close()

    def _serve(self) -> None:
        enter(lambda: {"stage": "deliver", "subscription": self.config.name})
        while not self._stop.is_set():
            try:
                self._item.pump()
            except ObserverError as error:
                _log.error("delivery stopped for now", subscription=self.config.name, error=str(error))
            except Exception:
                # A defect of one sink; the thread goes on, for nobody would miss it.
                _log.exception("delivery failed", subscription=self.config.name)
            self.wake.wait(_IDLE_SECONDS)
            self.wake.clear()
