"""Settings for other eyes: secrets, and what often holds one, are masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from observer_core.runtime.settings import Settings


def shown(settings: Settings) -> dict[str, Any]:
    """All settings as JSON values. The paths of webhooks are masked as secrets are."""
    from observer_core.runtime.masking import masked_address

    values = settings.model_dump(mode="json")
    for subscription in values["subscription"]:
        sink = subscription["sink"]
        if sink["kind"] == "webhook":
            sink["url"] = masked_address(sink["url"])
    return values
