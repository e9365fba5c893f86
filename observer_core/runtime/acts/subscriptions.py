"""Subscriptions that are added, paused, resumed and removed while everything runs."""

from __future__ import annotations

from typing import Literal

from observer_core.event_bus.subscriptions import SubscriptionConfig
from observer_core.runtime.acts.ground import Asked, By, Ground, Unknown
from observer_core.shared.errors import InputError
from observer_core.shared.records import Json
from observer_core.storage.once import Once

Action = Literal["pause", "resume", "remove"]


def add(ground: Ground, config: SubscriptionConfig, domain: str, by: By, once: Once | None = None) -> Asked:
    """Asks for a new one. A record may hold no secret: `InputError` for a sink that does."""
    if getattr(config.sink, "secret", None) is not None:
        raise InputError("a record may hold no secret; put this subscription into the configuration")
    body = {"action": "add", "name": config.name, "config": config.canonical()}
    return _ask(ground, config.name, body, domain, by, once)


def act(
    ground: Ground, name: str, action: Action, domain: str | None, by: By, once: Once | None = None
) -> Asked:
    """Asks for something about one; `Unknown` when the domain has none of that name."""
    return _ask(ground, name, {"action": action, "name": name}, domain, by, once)


def _ask(ground: Ground, name: str, body: Json, domain: str | None, by: By, once: Once | None) -> Asked:
    chosen = ground.one_domain(domain, f"subscription {name} may be of any domain")
    if (told := ground.told(chosen, once)) is not None:
        return told
    if body["action"] != "add":
        known = ground.journals.open(f"routes.{chosen}").views("subscriptions").get("subscriptions", {})
        configured = {item.name for item in ground.settings.subscription if chosen in item.domains}
        if name not in {*known, *configured}:
            names = ", ".join(sorted({*known, *configured})) or "none"
            raise Unknown(f"domain {chosen} has no subscription {name!r}; there are: {names}")
    asked = {**body, **by.checked().to_json()}
    text = f"{body['action']} subscription {name} in domain {chosen}"
    return ground.ask(chosen, "subscription", asked, ground.now_ns(chosen), text, once)
