"""How fast events are routed: 10,000 events over 100 subscriptions with a tree, inhibition and a silence.

A route decision is one event for one subscription. The stage alone, and with its records encoded.
"""

from __future__ import annotations

import time

from observer_core.event_bus.router import Router
from observer_core.event_bus.routing import RoutingConfig
from observer_core.event_bus.subscriptions import Subscriber
from observer_core.shared.clock import SECOND
from observer_core.shared.records import SEVERITIES, Event, Note
from observer_core.shared.stage import Entry

EVENTS, SUBSCRIPTIONS, SUBJECTS = 10_000, 100, 500
START = 1_700_000_000 * SECOND
KINDS = ("pattern.price_shock", "pattern.volume_surge", "feed.stale", "feed.resumed", "incident.opened")


def main() -> None:
    who = [
        Subscriber(
            name=f"s{number}", types=("feed.*",) if number % 3 else ("*",),
            subjects=(f"SYM{number:03d}*", "SYM1*"), min_severity=SEVERITIES[number % 3],
        )
        for number in range(SUBSCRIPTIONS)
    ]  # fmt: skip
    routing = RoutingConfig.model_validate({
        "route": {"to": ["s0"], "routes": [
            {"match": {"types": ["feed.*"]}, "to": ["s1", "s2"], "group_by": ["source", "type"]},
            {"match": {"min_severity": "critical"}, "to": ["s3"], "continue": True},
        ]},
        "inhibit": [
            {"name": "halt", "when": {"types": ["feed.halted"]}, "mute": {"types": ["feed.stale"]}}
        ],
    })  # fmt: skip
    events = [_event(number) for number in range(EVENTS)]
    for told, encodes in (("routed", False), ("routed, and the records encoded", True)):
        router = Router("live", who, routing)
        state = router.initial()
        body = {"action": "add", "author": "a", "reason": "r", "match": {"subjects": ["SYM499*"]},
                "start_ns": START, "end_ns": START + 10**15}  # fmt: skip
        router.transition(state, Entry("commands.live", 1, Note(kind="silence", time_ns=START, body=body)))
        started = time.process_time()
        size = 0
        for position, event in enumerate(events, 1):
            for record in router.transition(state, Entry("events.live", position, event)):
                size += len(record.encode(1)) if encodes else 0
        seconds = time.process_time() - started
        print(
            f"{told:34} {EVENTS / seconds:10,.0f} events/s  {EVENTS * SUBSCRIPTIONS / seconds:12,.0f} "
            f"route decisions/s on one core" + (f"  {size / EVENTS:,.0f} bytes an event" if encodes else "")
        )


def _event(number: int) -> Event:
    source, subject = f"src{number % 7}", f"SYM{number * 31 % SUBJECTS:03d}/USDT"
    return Event(
        id=f"e{number}", source=f"/qts/observer/live/{source}",
        type=f"io.qts.observer.{KINDS[number % len(KINDS)]}", subject=subject,
        time_ns=START + number * SECOND // 10,
        data={"series": [[source, subject, "last"]], "tags": []}, partitionkey=f"{source}/{subject}",
        sequence=f"{number:020d}", causationid="patterns.x@1", correlationid="",
        severitytext=SEVERITIES[number % 3],
    )  # fmt: skip


if __name__ == "__main__":
    main()
