"""The policies in force when none are given, and the one that no configuration can remove."""

from __future__ import annotations

from observer_core.decision_pipeline.policy import Bounds, Escalate, Policy, PolicyMatch, Until
from observer_core.shared.clock import SECOND

_MINUTE = 60 * SECOND
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_RESUMED = Until(resumed=True)
_OWNER = "qts-observer"
_PRICES = ("price", "*_price", "last", "close", "mid", "bid", "ask")

DEFAULT_POLICIES: tuple[Policy, ...] = (
    Policy(
        name="stale-feed", version=1, owner=_OWNER, verdict="block", scope="subject", until=_RESUMED,
        description="A series that stopped reporting cannot be traded on until it reports again.",
        match=PolicyMatch(types=("feed.stale",)), severity="critical",
    ),
    Policy(
        name="source-unavailable", version=1, owner=_OWNER, verdict="block", scope="source", until=_RESUMED,
        description="A source that does not answer closes everything it observes until it answers again.",
        match=PolicyMatch(types=("feed.unavailable",)), severity="critical",
    ),
    Policy(
        name="venue-halt", version=1, owner=_OWNER, verdict="block", scope="source", until=_RESUMED,
        description="A venue whose feed has stopped as a whole is closed until it is heard again.",
        match=PolicyMatch(types=("feed.halted",)), severity="critical",
    ),
    Policy(
        name="price-shock", version=2, owner=_OWNER, verdict="block", scope="subject",
        description="A price far outside its own recent moves pauses its subject for five minutes, as a "
        "limit state does under limit-up/limit-down (Plan to Address Extraordinary Market Volatility); the "
        "third pause within an hour lasts half an hour.",
        match=PolicyMatch(types=("pattern.price_shock",), min_severity="warning"),
        until=Until(after=5 * _MINUTE), escalate=Escalate(times=3, within=_HOUR, until=30 * _MINUTE),
    ),
    Policy(
        name="drawdown", version=1, owner=_OWNER, verdict="block", scope="subject",
        description="A fall of 7 % from the recent peak pauses its subject for 15 minutes, as the first "
        "market-wide circuit breaker does; told again, and paused again, when the fall has doubled.",
        match=PolicyMatch(types=("pattern.drawdown",), evidence={"fall_bp": Bounds(min=700.0)}),
        until=Until(after=15 * _MINUTE),
    ),
    Policy(
        name="relation-break", version=1, owner=_OWNER, verdict="block", scope="subject", until=_RESUMED,
        description="A peg or a relation between venues that does not hold closes its subject until it does.",
        match=PolicyMatch(types=("pattern.relation_break",), min_severity="warning"),
    ),
    Policy(
        name="crossed-book", version=1, owner=_OWNER, verdict="block", scope="subject", until=_RESUMED,
        description="A book whose bid stays above its ask is wrong; nothing is traded on it.",
        match=PolicyMatch(types=("pattern.crossed_book",)),
    ),
    Policy(
        name="spread-blowout", version=1, owner=_OWNER, verdict="block", scope="subject", until=_RESUMED,
        description="A spread far above its usual one makes every order dear: wait until it is back.",
        match=PolicyMatch(types=("pattern.spread_blowout",), min_severity="warning"),
    ),
    Policy(
        name="price-spike", version=1, owner=_OWNER, verdict="block", scope="subject",
        until=Until(after=15 * _MINUTE),
        description="A critical price spike halts its subject while the print is confirmed or withdrawn.",
        match=PolicyMatch(types=("pattern.*spike*",), fields=_PRICES, min_severity="critical"),
        min_score=0.6,
    ),
    Policy(
        name="level-shift", version=1, owner=_OWNER, verdict="block", scope="subject",
        until=Until(after=30 * _MINUTE),
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
        name="host-degraded", version=1, owner=_OWNER, verdict="judgment", scope="source",
        severity="critical",
        description="Three metrics of the Observer's own machine that are critical within five minutes are "
        "judged; they block nothing alone: late or missing data are blocked by their own measure.",
        match=PolicyMatch(types=("pattern.*",), sources=("host",), min_severity="critical"),
        count=3, within=5 * _MINUTE, distinct="field", cooldown=15 * _MINUTE,
    ),
    Policy(
        name="data-quality", version=1, owner=_OWNER, verdict="judgment", scope="source",
        severity="critical",
        description="A source that was stale, flat, halted or unavailable twenty times within a day is "
        "judged unreliable; each loss has closed what it concerned while it lasted.",
        match=PolicyMatch(types=("feed.stale", "feed.flat", "feed.halted", "feed.unavailable")),
        count=20, within=_DAY, cooldown=_DAY,
    ),
    Policy(
        name="flat-feed", version=1, owner=_OWNER, verdict="judgment", scope="subject",
        description="A series that repeats one value is suspect; recorded, because quiet markets do it too.",
        match=PolicyMatch(types=("feed.flat",)), cooldown=15 * _MINUTE,
    ),
)  # fmt: skip

QUARANTINE = Policy(
    name="quarantine", version=1, owner=_OWNER, verdict="block", scope="source", until=_RESUMED,
    description="What was set aside unread may have been the warning: its scopes stay closed until redriven.",
    match=PolicyMatch(types=("quarantined",)), severity="critical",
)  # fmt: skip
