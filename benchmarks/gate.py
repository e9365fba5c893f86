"""`python -m benchmarks.gate`: 500 questions a second to the gate, half of them denied, all recorded.

A standalone Observer runs as a process of its own, on files with its own sources; the questions
come from this process over kept connections, each at its due moment whether or not earlier ones were
answered: a slow answer is measured from when it was due (no coordinated omission). Beside it: the same
requests to `/livez`, which reads and writes nothing, and a commit of one small record on this disk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from observer_core.runtime.settings import load
from observer_core.shared.clock import SystemClock
from observer_core.shared.records import Evaluation, Note
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage

CONFIG = """
durability = "{durability}"
[[source]]
name = "feed"
kind = "push"
max_age = "10s"

[[source]]
name = "host"
kind = "system"
interval = "1s"

[[intent]]
name = "size"
max_quantity = 100
"""
RUN = "from observer_core.cli import main; main()"
INSTRUMENTS = 100


@dataclass
class Found:
    """Seconds of every answer since it was due, and what went wrong."""

    seconds: list[float] = field(default_factory=list)
    allowed: int = 0
    denied: int = 0
    errors: list[str] = field(default_factory=list)

    def line(self, name: str) -> str:
        ordered = sorted(self.seconds) or [float("nan")]
        p50, p99, most = (ordered[min(len(ordered) - 1, int(len(ordered) * q))] for q in (0.5, 0.99, 1.0))
        return (
            f"{name:34} {len(self.seconds):6} {p50 * 1e3:8.2f} {p99 * 1e3:8.2f} {most * 1e3:8.2f} "
            f"{self.allowed:8} {self.denied:8} {len(self.errors):7}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=500, help="questions a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--durability", choices=("full", "normal", "both"), default="both")
    parser.add_argument("--dir", type=Path, help="where the data folder is made (a disk, or memory)")
    options = parser.parse_args()
    print(
        f"{'ms':34} {'count':>6} {'p50':>8} {'p99':>8} {'max':>8} {'allowed':>8} {'denied':>8} {'errors':>7}"
    )
    for durability in ("full", "normal") if options.durability == "both" else (options.durability,):
        with tempfile.TemporaryDirectory(dir=options.dir) as folder:
            measure(Path(folder), durability, options.rate, options.seconds, options.connections)


def measure(folder: Path, durability: str, rate: int, seconds: float, connections: int) -> None:
    (folder / "config").mkdir()
    (folder / "config" / "observer.toml").write_text(CONFIG.format(durability=durability))
    commit_line(folder / "commits", durability)
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, "--root", str(folder), "run", "--port", "0", "--no-console"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        port = wait_for(folder, process)
        found = asyncio.run(both(port, rate, seconds, connections))
    finally:
        process.terminate()
        process.wait(20)
    for name, result in found.items():
        print(result.line(f"{name}, {durability}"), flush=True)
        for error in sorted(set(result.errors))[:3]:
            print(f"    {error}")
    recorded(folder, found["POST /v1/evaluation"])


def wait_for(folder: Path, process: subprocess.Popen[str]) -> int:
    """The port, once data has come and every stage has worked it."""
    end = time.monotonic() + 60
    log = folder / "logs" / "observer.log"
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.1)
        lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        ports = [line["port"] for line in lines if line.get("event") == "started"]
        if not ports:
            continue
        push(ports[0])
        time.sleep(2)
        with urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}/v1/gate/S0", timeout=5) as answer:
            if json.load(answer)["decision"] == "allow":
                return int(ports[0])
    said = process.stderr.read() if process.stderr and process.poll() is not None else ""
    raise SystemExit(f"the Observer did not start: {said}")


def push(port: int) -> None:
    rows = [{"subject": f"S{number}", "price": 100.0 + number} for number in range(INSTRUMENTS)]
    body = "\n".join(map(json.dumps, rows)).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/snapshots/feed", body, {"Content-Type": "application/x-ndjson"}
    )
    urllib.request.urlopen(request, timeout=5).close()


async def both(port: int, rate: int, seconds: float, connections: int) -> dict[str, Found]:
    async def fresh() -> None:
        while True:
            await asyncio.sleep(1)
            await asyncio.to_thread(push, port)

    pushing = asyncio.create_task(fresh())
    head = f"Host: 127.0.0.1:{port}\r\n"
    plain = f"GET /livez HTTP/1.1\r\n{head}\r\n".encode()
    questions = [question(number, head) for number in range(2 * INSTRUMENTS)]
    await load_at(port, rate, 1.0, connections, questions)  # warm
    try:
        return {
            "GET /livez": await load_at(port, rate, seconds, connections, [plain]),
            "POST /v1/evaluation": await load_at(port, rate, seconds, connections, questions),
        }
    finally:
        pushing.cancel()


def question(number: int, head: str) -> bytes:
    """Every other one is denied: too much of it, or unknown."""
    denied, unknown = number % 2, number % 4 == 3
    body = json.dumps({
        "subject": {"type": "strategy", "id": "bench"}, "action": {"name": "order"},
        "resource": {"type": "instrument", "id": f"S{number // 2}" if not unknown else f"none-{number}"},
        "context": {"side": "buy", "quantity": 1000 if denied else 1, "price": 100.0},
    })  # fmt: skip
    return (
        f"POST /v1/evaluation HTTP/1.1\r\n{head}Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def load_at(port: int, rate: int, seconds: float, connections: int, requests: Sequence[bytes]) -> Found:
    """`rate` requests a second for so long, over kept connections; whichever is free takes the next."""
    found = Found()
    due: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()

    async def worker() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (item := await due.get()) is not None:
            moment, request = item
            try:
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                body = await reader.readexactly(length)
            except (OSError, EOFError, ValueError) as error:
                found.errors.append(repr(error))
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                continue
            found.seconds.append(time.perf_counter() - moment)
            if not head.startswith(b"HTTP/1.1 200"):
                found.errors.append(f"{head[:40]!r} {body[:200]!r}")
            elif b'"not_recorded"' in body:
                found.errors.append("not recorded")
            elif body.startswith(b'{"decision":true'):
                found.allowed += 1
            elif body.startswith(b'{"decision":false'):
                found.denied += 1
        writer.close()

    workers = [asyncio.create_task(worker()) for _ in range(connections)]
    started = time.perf_counter()
    for number in range(int(rate * seconds)):
        moment = started + number / rate
        wait = moment - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        due.put_nowait((moment, requests[number % len(requests)]))
    for _ in workers:
        due.put_nowait(None)
    await asyncio.gather(*workers)
    return found


def commit_line(folder: Path, durability: str) -> None:
    """The machine's limit: what one commit of one small record takes here."""
    storage = LocalStorage(folder, durability="full" if durability == "full" else "normal")
    journal = Journals(storage, worker="bench").open("limit.live", "live")
    clock, found = SystemClock(), Found()
    for _ in range(500):
        started = time.perf_counter()
        note = Note(kind="tick", time_ns=clock.now_ns(), body={"text": "x" * 500})
        journal.commit(journal.head(refresh=False), Commit(records=[note]))
        found.seconds.append(time.perf_counter() - started)
    storage.close()
    print(found.line(f"one commit, {durability}"))


def recorded(folder: Path, found: Found) -> None:
    storage = LocalStorage(load(root=folder).paths.data)
    journal = Journals(storage, worker="bench").open("gate.live")
    records = [entry.record for entry in journal.scan() if isinstance(entry.record, Evaluation)]
    asked = [record for record in records if record.caller == "bench"]
    rows = sum(1 for row in journal.rows() if row.records)
    print(f"    {len(asked)} evaluations recorded in all, {len(records) / max(rows, 1):.2f} a commit")
    storage.close()


if __name__ == "__main__":
    main()
