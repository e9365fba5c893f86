"""Where records are sent, for other eyes: secrets, and what often holds one, are masked."""

from __future__ import annotations

from typing import Any, Final

MASK: Final = "**********"


def masked_sink(sink: Any) -> str:
    """A sink in a few words."""
    match sink.kind:
        case "file":
            return f"file {sink.path}"
        case "queue":
            return f"queue {sink.queue}"
        case "webhook":
            return f"webhook {masked_address(sink.url)}"
    return str(sink.kind)


def masked_address(url: str) -> str:
    """Who is called; what follows may be a secret."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}/{MASK}"
