"""Benchmarks of the detectors: what they check can be missed, and they work where the peers are absent."""

from __future__ import annotations

import gzip
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks import detect_costs, detect_market, detect_peers
from benchmarks.detect_market import Recorded, labelled, quiet
from observer_core.pattern_record.config import RecogniserConfig
from observer_core.shared.clock import SECOND, parse_time
from observer_core.shared.records import PatternRecord, Severity

ROOT = Path(__file__).resolve().parents[2]
PIN = re.compile(r"^([a-z0-9-]+)==([0-9][0-9a-z.]*)(?: ; .+)?$", re.MULTILINE)
TRADES, QUOTES = ("close", "volume"), ("bid_close", "ask_close")
SUBJECTS = ("x:A", "x:B")
DEAD = {
    "incidents": [{
        "id": "trades_dead", "last_bar": "10:00 A, 10:02 B", "detect_by": "2024-01-01T10:30",
    }],
    "quiet": [{
        "signal": "staleness A/B", "from": "2024-01-01T00:30", "to": "2024-01-01T09:00", "max_alerts": 0,
    }],
}  # fmt: skip


def pins(name: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / name).read_text()))


def test_peers_are_pinned_as_everything_else_is_and_are_no_part_of_it() -> None:
    peers, dev = pins("requirements-peers.txt"), pins("requirements-dev.txt")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {re.split("[>=]", item)[0] for item in extras["peers"]}
    assert names == {"pcodec", "river", "stumpy"} <= peers.keys()
    assert not names & dev.keys()
    assert {name: peers[name] for name in peers.keys() & dev.keys()}.items() <= dev.items()
    text = (ROOT / "requirements-peers.txt").read_text()
    assert not re.search(r"://|^\s*-|@ ", text, re.MULTILINE)


def alarm(
    kind: str,
    at: str,
    subjects: Sequence[str] = SUBJECTS,
    fields: Sequence[str] = TRADES,
    severity: Severity = "warning",
) -> PatternRecord:
    series = tuple(("market", subject, field) for subject in subjects for field in fields)
    moment = parse_time(f"2024-01-01T{at}:00Z")
    return PatternRecord(
        id=f"{kind} {at} {series}", pattern=kind, series=series, score=0.9, severity=severity,
        direction="none", tags=(), detector="d/1", evidence={}, snapshot="s@1", event_ns=moment,
        time_ns=moment,
    )  # fmt: skip


def recorded(*alarms: PatternRecord, incidents: Sequence[str] = ()) -> Recorded:
    of = dict(zip((it.id for it in alarms), incidents or ["i1"] * len(alarms)))
    channels = {"trades": frozenset(TRADES), "quotes": frozenset(QUOTES)}
    return Recorded("r", alarms, of, [], channels, frozenset(SUBJECTS))


def verdicts(found: Recorded) -> list[bool | None]:
    """Of: in time, all subjects, one incident, quotes healthy, quiet window."""
    return [line.met for line in labelled(found, DEAD)]


def test_a_feed_that_is_found_in_time_as_one_incident_meets_every_line() -> None:
    assert verdicts(recorded(alarm("venue_halt", "10:20"))) == [True] * 5
    one_by_one = [alarm("feed_stale", f"10:2{n}", [subject]) for n, subject in enumerate(SUBJECTS)]
    assert verdicts(recorded(*one_by_one)) == [True] * 5


@pytest.mark.parametrize(
    ("found", "met"),
    [
        (recorded(), [False, False, False, True, True]),
        (recorded(alarm("spike", "10:05")), [False, False, False, True, True]),
        (recorded(alarm("venue_halt", "10:31")), [False, False, True, True, True]),
        (recorded(alarm("venue_halt", "10:20", ["x:A"])), [True, False, True, True, True]),
        (recorded(alarm("venue_halt", "10:20"), incidents=[""]), [True, True, False, True, True]),
        (
            recorded(alarm("venue_halt", "10:20"), alarm("feed_stale", "10:25"), incidents=["i1", "i2"]),
            [True, True, False, True, True],
        ),
        (recorded(alarm("venue_halt", "10:20", fields=QUOTES)), [False, False, False, False, True]),
        (
            recorded(alarm("venue_halt", "10:20"), alarm("venue_halt", "10:21", ["*"], ["*"])),
            [True, True, True, False, True],
        ),
        (
            recorded(alarm("feed_stale", "08:00"), alarm("venue_halt", "10:20")),
            [True, True, True, True, False],
        ),
    ],
)
def test_every_line_can_be_missed(found: Recorded, met: list[bool]) -> None:
    assert verdicts(found) == met


def test_on_quiet_days_alarms_of_every_severity_count_and_days_end_at_midnight() -> None:
    found = recorded(
        alarm("spike", "00:00", severity="info"), alarm("spike", "09:00", severity="info"),
        alarm("volume_surge", "09:00"), alarm("spike", "23:59", severity="info"),
    )  # fmt: skip
    (line,) = quiet(found, ["2024-01-01"])
    assert (line.found.split(";")[0], line.met) == ("3, of them 1 above info", False)
    (line,) = quiet(recorded(alarm("spike", "09:00"), alarm("spike", "10:00")), ["2024-01-01"])
    assert line.met


def test_a_recording_goes_through_all_stages(tmp_path: Path) -> None:
    """Trades of three subjects stop for good at 02:00, their quotes go on."""
    subjects = ("x:A", "x:B", "x:C")
    for channel, fields, minutes in (("trades", TRADES, 120), ("quotes", QUOTES, 240)):
        with gzip.open(tmp_path / f"{channel}.csv.gz", "wt") as file:
            print("ts", "series", *fields, sep=",", file=file)
            for minute in range(minutes):
                values = [100 + (minute * 7 + place) % 5 for place in range(len(fields))]
                for subject in subjects:
                    stamp = f"2024-01-01T{minute // 60:02}:{minute % 60:02}:00Z"
                    print(stamp, subject, *values, sep=",", file=file)
    found = detect_market.read([tmp_path / f"{channel}.csv.gz" for channel in ("trades", "quotes")], "1m")
    assert found.subjects == set(subjects)
    silent = [it for it in found.alarms if it.pattern in detect_market.SILENCE]
    begin_ns = parse_time("2024-01-01T02:00:00Z")
    assert {s for it in silent for s in found.about(it, "trades")} == set(subjects)
    assert not any(found.touches(it, "quotes") for it in silent)
    assert all(begin_ns < it.time_ns < begin_ns + 3600 * SECOND for it in silent)
    assert len({found.incidents[it.id] for it in silent}) == len(found.opened_ns) == 1


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (detect_peers, detect_costs):
        monkeypatch.setattr(module, "installed", lambda: False)


@pytest.mark.usefixtures("alone")
def test_without_peers_that_is_said_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["detect_peers", "--data", "nowhere"])
    detect_peers.main()
    assert "`make peers`" in capsys.readouterr().out


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(("feed", "width"), [(detect_costs.noise, 1), (detect_costs.market, 4)])
def test_without_peers_our_own_costs_are_measured(
    feed: Callable[[int], detect_costs.Feed],
    width: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in (("WARM", 40), ("REPEATS", 2), ("STEPS", 30)):
        monkeypatch.setattr(detect_costs, name, value)
    detect_costs.measure("costs", RecogniserConfig(), feed(3), 3, width, judge=True)
    title, n, least, median, river, ratio, records, size = capsys.readouterr().out.split()[:8]
    assert (title, n, river, ratio, records) == ("costs", "3", "-", "-", "0")
    assert 0 < float(least.replace(",", "")) <= float(median.replace(",", ""))
    assert float(size.replace(",", "")) > 0


def test_a_peer_keeps_quiet_after_an_alarm_as_ours_does() -> None:
    scores = np.array([0.0, 5.0, 9.0, 9.0, 1.0, 9.0, 5.0])
    assert detect_peers.told(scores, 5.0, 3).tolist() == [0, 1, 0, 0, 0, 1, 0]
    assert detect_peers.told(scores, 5.0, 0).tolist() == [0, 1, 1, 1, 0, 1, 1]


@pytest.mark.parametrize(
    ("scores", "said"), [((78, 71, 83), "goal met"), ((78, 71, 82), "must met"), ((73.9, 99, 99), "MISSED")]
)
def test_scores_are_judged_all_together(scores: tuple[float, ...], said: str) -> None:
    assert detect_peers.judged(scores, detect_peers.NAB_MUST, detect_peers.NAB_GOAL) == said
