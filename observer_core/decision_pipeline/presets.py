"""The policies in force when none are given, and the one that no configuration can remove."""

from __future__ import annotations

from observer_core.decision_pipeline.policy import RESUMED, Policy, PolicyMatch
from observer_core.shared.clock import SECOND

_MINUTE = 60 * SECOND
_OWNER = "qts-observer"
_PRICES = ("price", "*_price", "last", "close", "mid", "bid", "ask")

DEFAULT_POLICIES: tuple[Policy, ...] = (
    Policy(
        name="stale-feed", version=1, owner=_OWNER, verdict="block", scope="subject", until=RESUMED,
        description="A series that stopped reporting cannot be traded on until it reports again.",
        match=PolicyMatch(types=("feed.stale",)), severity="critical",
    ),
    Policy(
        name="source-unavailable", version=1, owner=_OWNER, verdict="block", scope="source", until=RESUMED,
        description="A source that does not answer closes everything it observes until it answers again.",
        match=PolicyMatch(types=("feed.unavailable",)), severity="critical",
    ),
    Policy(
        name="price-spike", version=1, owner=_OWNER, verdict="block", scope="subject", until=15 * _MINUTE,
        description="A critical price spike halts its subject while the print is confirmed or withdrawn.",
        match=PolicyMatch(types=("pattern.*spike*",), fields=_PRICES, min_severity="critical"),
        min_score=0.6,
    ),
    Policy(
        name="level-shift", version=1, owner=_OWNER, verdict="block", scope="subject", until=30 * _MINUTE,
        description="A critical shift of level halts its subject while models learn the new level.",
        match=PolicyMatch(types=("pattern.*level_shift*",), min_severity="critical"),
        min_score=0.6, cooldown=30 * _MINUTE,
    ),
    Policy(
        name="variance-shift", version=1, owner=_OWNER, verdict="judgment", scope="subject",
        description="A change of variance is assessed and recorded; it does not halt anything by itself.",
        match=PolicyMatch(types=("pattern.*variance*",), min_severity="warning"), cooldown=15 * _MINUTE,
    ),
    Policy(
        name="flat-feed", version=1, owner=_OWNER, verdict="judgment", scope="subject",
        description="A series that repeats one value is suspect; recorded, because quiet markets do it too.",
        match=PolicyMatch(types=("feed.flat",)), cooldown=15 * _MINUTE,
    ),
)  # fmt: skip

QUARANTINE = Policy(
    name="quarantine", version=1, owner=_OWNER, verdict="block", scope="source", until=RESUMED,
    description="What was set aside unread may have been the warning: its scopes stay closed until redriven.",
    match=PolicyMatch(types=("quarantined",)), severity="critical",
)  # fmt: skip
