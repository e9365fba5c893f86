"""What became of a decision: what ended it, who was told, and who was not, and why."""

from __future__ import annotations

from typing import Any

from observer_core.runtime.reading.finding import Finder
from observer_core.runtime.reading.lineage import lineage
from observer_core.shared.canonical import decode, encode
from observer_core.shared.records import DeliveryResult, Record, Route
from observer_core.storage.journal import Commit
from tests.support.web import Site


def block(site: Site) -> dict[str, Any]:
    listed = site.get("/v1/decisions?domain=desk&verdict=block&subject=A/USD").json()["items"]
    found: dict[str, Any] = next(it for it in listed if it["record"]["policy"] == "price-shock")
    return found


def became(site: Site, ref: str) -> Any:
    journals = site.observer.journals
    return decode(encode(lineage(journals, Finder(journals), ref)))["became"]


def add(site: Site, journal: str, *records: Record) -> None:
    """As the stage that writes it would."""
    opened = site.observer.journals.open(journal, "desk")
    opened.commit(opened.head(), Commit(records=records))


def test_a_block_has_its_release_and_to_whom_it_was_given(reading: Site) -> None:
    item = block(reading)
    found = became(reading, item["ref"])
    assert found["truncated"] is False
    given, release = found["entries"]
    assert (given["kind"], given["text"]) == ("delivery", "given to ops")
    assert release["record"]["verdict"] == "release"
    assert release["record"]["evidence"]["block"] == item["record"]["id"]


def test_a_release_is_not_ended_by_itself(reading: Site) -> None:
    (item,) = reading.get("/v1/decisions?domain=desk&verdict=release").json()["items"]
    assert [entry["kind"] for entry in became(reading, item["ref"])["entries"]] == ["delivery"]


def test_a_delivery_of_it_is_there_and_no_other(site: Site) -> None:
    item = block(site)
    time_ns = item["record"]["time_ns"] + 1
    results = [
        DeliveryResult(
            subscription="ops", record="x", ref=ref, attempt=2, outcome="delivered", time_ns=time_ns,
            latency_ns=1, code=200,
        )
        for ref in (item["ref"], "decisions.desk@2")
    ]  # fmt: skip
    add(site, "results.desk-ops", *results)
    told = [entry for entry in became(site, item["ref"])["entries"] if entry["ref"].startswith("results.")]
    assert [entry["text"] for entry in told] == ["ops: delivered, attempt 2, code 200"]


def test_whom_a_silence_kept_it_from_is_said_but_not_who_does_not_want_it(site: Site) -> None:
    item = block(site)
    stopped = {"silence:commands.desk@1": ("pager", "desk"), "filter:verdicts": ("journal",)}
    newest = site.observer.journals.open("routes.desk").head().time_ns
    add(site, "routes.desk", Route(ref=item["ref"], to=(), grouped=(), stopped=stopped, time_ns=newest))
    texts = [entry["text"] for entry in became(site, item["ref"])["entries"]]
    assert "kept from pager, desk by silence:commands.desk@1" in texts


def test_an_answer_of_the_gate_becomes_nothing(site: Site) -> None:
    identity = site.get("/v1/gate/ETH%2FUSDT").json()["id"]
    assert became(site, identity) == {"entries": [], "truncated": False}
