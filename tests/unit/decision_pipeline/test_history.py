"""What stood at a moment, from the records alone."""

from observer_core.decision_pipeline.history import fold
from tests.unit.decision_pipeline.desk import MINUTE, T0, Desk, event, policy


def test_the_fold_up_to_a_moment_is_what_the_views_said_then() -> None:
    desk = Desk(
        policy(cooldown="1m"),
        policy(name="stale", match={"types": ["feed.stale"]}, until="resumed"),
        judgment={"elevated": 1.0, "elevated_leave": 0.5},
    )
    steps = [
        lambda at: desk.take(event(at=at)),
        lambda at: desk.take(event("feed.stale", at, subject="ETH/USDT")),
        lambda at: desk.command("block", "*", at),
        lambda at: desk.command("override", "source:binance", at, until_ns=at + 3 * MINUTE),
        lambda at: desk.command("release", "*", at),
        lambda at: desk.take(event("quarantined", at, data={"scopes": ["source:kraken"], "position": 1})),
        lambda at: desk.tick(at + 60 * MINUTE),
    ]
    seen = []
    for number, step in enumerate(steps):
        step(T0 + number * MINUTE)
        seen.append((desk.state.time_ns, desk.stage.views(desk.state)))
    for at, views in seen:
        assert fold(desk.records, at).views() == views
    assert fold(desk.records).views() == seen[-1][1]
    assert fold(desk.records, T0 - 1).views() == Desk().stage.views(Desk().state)


def test_a_release_at_the_moment_itself_has_released() -> None:
    desk = Desk(policy())
    desk.take(event())
    desk.tick(T0 + 15 * MINUTE)
    assert fold(desk.records, T0 + 15 * MINUTE - 1).blocks.keys() == {"subject:BTC/USDT"}
    assert fold(desk.records, T0 + 15 * MINUTE).blocks == {}
