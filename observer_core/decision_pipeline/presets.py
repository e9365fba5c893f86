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
        name="venue-halt", version=1, owner=_OWNER, verdict="block", scope="source", until=RESUMED,
        description="A venue whose feed has stopped as a whole is closed until it is heard again.",
        match=PolicyMatch(types=("feed.halted",)), severity="critical",
    ),
    Policy(
        name="price-shock", version=1, owner=_OWNER, verdict="block", scope="subject", until=15 * _MINUTE,
        description="A price far outside its own recent moves halts its subject until it is understood.",
        match=PolicyMatch(types=("pattern.price_shock",), min_severity="warning"), cooldown=5 * _MINUTE,
    ),
    Policy(
        name="relation-break", version=1, owner=_OWNER, verdict="block", scope="subject", until=RESUMED,
        description="A peg or a relation between venues that does not hold closes its subject until it does.",
        match=PolicyMatch(types=("pattern.relation_break",), min_severity="warning"),
    ),
    Policy(
        name="crossed-book", version=1, owner=_OWNER, verdict="block", scope="subject", until=RESUMED,
        description="A book whose bid stays above its ask is wrong; nothing is traded on it.",
        match=PolicyMatch(types=("pattern.crossed_book",)),
    ),
    Policy(
        name="spread-blowout", version=1, owner=_OWNER, verdict="block", scope="subject", until=RESUMED,
        description="A spread far above its usual one makes every order dear: wait until it is back.",
        match=PolicyMatch(types=("pattern.spread_blowout",), min_severity="warning"),
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
        name="market-state", version=1, owner=_OWNER, verdict="judgment", scope="subject",
        description="Volatility, drawdown and volume are assessed and recorded; they halt nothing alone.",
        match=PolicyMatch(
            types=("pattern.volatility_regime", "pattern.drawdown", "pattern.volume_surge"),
            min_severity="warning",
        ),
        cooldown=15 * _MINUTE,
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
