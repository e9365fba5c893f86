"""Settings for other eyes: secrets, and what often holds one, are masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from observer_core.runtime.settings import Settings

MASK = "**********"


def shown(settings: Settings) -> dict[str, Any]:
    """All settings as JSON values. The paths of webhooks are masked as secrets are."""
    values = settings.model_dump(mode="json")
    for subscription in values["subscription"]:
        sink = subscription["sink"]
        if sink["kind"] == "webhook":
            sink["url"] = _host(sink["url"])
    return values


def masked_sink(sink: Any) -> str:
    """A sink in a few words."""
    match sink.kind:
        case "file":
            return f"file {sink.path}"
        case "queue":
            return f"queue {sink.queue}"
        case "webhook":
            return f"webhook {_host(sink.url)}"
    return str(sink.kind)


def _host(url: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}/{MASK}"
