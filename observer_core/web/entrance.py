"""What every request passes before it reaches the application: the guard, then who calls."""

from __future__ import annotations

from typing import Literal

import structlog
from starlette.middleware import Middleware

from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import platform_signs_in
from observer_core.shared.errors import ConfigError
from observer_core.web.access import Callers
from observer_core.web.guard import Guard, is_loopback

_log = structlog.get_logger("observer.web")


def entrance(
    observer: Observer, metrics: Metrics, runtime: Literal["standalone", "functions"]
) -> list[Middleware]:
    """The middleware, outermost first; `ConfigError` for what would let in somebody whom nobody knows."""
    web = observer.settings.web
    standalone = runtime == "standalone"
    loopback_only = standalone and is_loopback(web.host)
    if standalone and web.easy_auth:
        raise ConfigError(
            "web.easy_auth is for the Functions app, where App Service writes who is signed in; here anybody "
            "can write that: take it out, and give out tokens (`observer token new NAME --scopes read`)"
        )
    easy_auth = web.easy_auth and platform_signs_in()
    if web.easy_auth and not easy_auth:
        _log.error(
            "web.easy_auth is on, but App Service authentication is not (WEBSITE_AUTH_ENABLED): nobody is "
            "believed to be signed in"
        )
    here = loopback_only and not web.token
    return [
        Middleware(Guard, loopback_only=loopback_only, hosts=web.hosts, unproved=here),
        Middleware(
            Callers, web=web, clock=observer.clock, here=here, host=not standalone, easy_auth=easy_auth,
            refused=metrics.refused,
        ),
    ]  # fmt: skip
