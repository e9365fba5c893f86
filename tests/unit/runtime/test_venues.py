"""Which venue a source is of, from the settings to the publisher."""

from typing import Any

from observer_core.runtime.settings import Settings


def settings(*sources: dict[str, Any], **more: Any) -> Settings:
    return Settings(source=sources, **more)


def push(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": "push", **more}


def test_shards_are_one_venue_and_a_whole_source_goes_unsaid() -> None:
    host = {"name": "host", "kind": "system", "interval": "60s", "shards": 2}
    assert settings(host, push("desk")).publisher("live").venues == {"host-0": "host", "host-1": "host"}
    assert settings(push("desk")).publisher("live") == Settings().publish


def test_sources_that_say_so_share_a_venue_with_the_one_of_that_name() -> None:
    given = settings(push("binance"), push("binance-trades", venue="binance"), push("desk"))
    assert given.publisher("live").venues == {"binance": "binance", "binance-trades": "binance"}


def test_each_domain_has_its_own_sources_and_what_is_written_counts_most() -> None:
    tape = {
        "name": "tape", "kind": "recording", "domain": "desk", "venue": "x", "paths": ["a.csv"],
        "mapping": {"subject": "s", "time": "ts", "fields": ["price"]},
    }  # fmt: skip
    given = settings(push("live-1", venue="y"), tape, publish={"venues": {"other": "x", "live-1": "z"}})
    assert given.publisher("live").venues == {"live-1": "z", "other": "x"}
    assert given.publisher("desk").venues == {"tape": "x", "other": "x", "live-1": "z"}
