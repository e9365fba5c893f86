"""The same numbers by OpenTelemetry as by Prometheus, once; and what happens when nobody takes them."""

from __future__ import annotations

import builtins
import math
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry import metrics as global_metrics
from opentelemetry import trace as global_trace
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from prometheus_client.parser import text_string_to_metric_families

from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import load
from observer_core.runtime.telemetry import export
from observer_core.runtime.telemetry.instruments import INSTRUMENTS
from observer_core.runtime.telemetry.telemetry import Telemetry
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.errors import ConfigError
from observer_core.shared.records import Snapshot
from observer_core.storage.memory import MemoryStorage
from tests.support.market import observer as market
from tests.support.market import recording, take

NOW = 1_700_000_000 * SECOND
Point = tuple[str, tuple[tuple[str, str], ...]]


def exported(reader: InMemoryMetricReader) -> dict[Point, Any]:
    data = reader.get_metrics_data()
    assert data is not None
    return {
        (metric.name, tuple(sorted((str(k), str(v)) for k, v in (point.attributes or {}).items()))): point
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


def scraped(metrics: Metrics) -> dict[Point, float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_both_ways_give_the_same_numbers_again_and_again(tmp_path: Path) -> None:
    it = market(tmp_path, clock=ManualClock(NOW))
    metrics = Metrics(it)
    telemetry = Telemetry(it, metrics)
    reader = InMemoryMetricReader()
    stop = export.metrics(it, metrics, reader)
    for minutes in (range(140), range(300)):
        take(it, recording(tmp_path / "desk.csv", minutes))
        metrics.loop(0.2)
        by_prometheus, by_otel = scraped(metrics), exported(reader)
        seen = set()
        for (name, labels), point in by_otel.items():
            if isinstance(point, HistogramDataPoint):
                assert by_prometheus[f"{name}_count", labels] == point.count
                assert by_prometheus[f"{name}_sum", labels] == pytest.approx(point.sum)
                assert list(point.explicit_bounds) == list(
                    next(item.bounds for item in INSTRUMENTS if item.name == name)
                )
                seen.add(name)
                continue
            assert isinstance(point, NumberDataPoint)
            instrument = next(item for item in INSTRUMENTS if item.name.removesuffix("_total") == name)
            assert by_prometheus[instrument.name, labels] == pytest.approx(point.value)
            seen.add(instrument.name)
        assert {
            "observer_snapshots_total", "observer_patterns_total", "observer_decisions_total",
            "observer_stage_seconds", "observer_loop_delay_seconds", "observer_journal_position",
            "observer_stage_lag_seconds", "observer_up", "observer_conflicts_total",
            "observer_journal_written_bytes_total", "observer_checkpoint_age_seconds",
        } <= seen  # fmt: skip
    stop()
    telemetry.stop()


def test_what_has_no_number_yet_is_left_out(tmp_path: Path) -> None:
    clock = ManualClock(NOW)
    it = Observer(load(root=tmp_path), MemoryStorage(), clock=clock)
    one = Snapshot(source="host", event_ns=NOW, ingest_ns=NOW, subjects=("a",), fields={"x": np.array([1.0])})
    it.writer("host", "live", "live", NOW).write([one])
    metrics, reader = Metrics(it), InMemoryMetricReader()
    stop = export.metrics(it, metrics, reader)
    labels = (("domain", "live"), ("stage", "decide"))
    assert scraped(metrics)["observer_stage_lag_seconds", labels] == math.inf
    assert ("observer_stage_lag_seconds", labels) not in exported(reader)
    stop()


class Collector(ThreadingHTTPServer):
    """What takes OTLP."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taken)
        self.taken: list[tuple[str, str | None, int]] = []


class _Taken(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append((self.path, self.headers.get("x-team"), len(body)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as it:
        thread = threading.Thread(target=it.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield it
        it.shutdown()
        thread.join()


def test_a_collector_gets_traces_and_metrics_at_the_latest_when_it_stops(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}/")
    monkeypatch.setenv("OTLP_HEADERS", "x-team=the-desk")
    it = market(
        tmp_path, telemetry={"traces": "otlp", "metrics": "otlp", "headers": "OTLP_HEADERS"}
    )  # fmt: skip
    telemetry = Telemetry(it, Metrics(it))
    take(it, recording(tmp_path / "desk.csv"))
    telemetry.stop()
    taken = {(path, team) for path, team, size in collector.taken if size > 100}
    assert taken == {("/v1/traces", "the-desk"), ("/v1/metrics", "the-desk")}


def test_nothing_waits_for_a_collector_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_STOP_SECONDS", 0.2)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    it = market(tmp_path, telemetry={"traces": "otlp", "metrics": "otlp"})
    telemetry = Telemetry(it, Metrics(it))
    found = take(it, recording(tmp_path / "desk.csv"))
    assert found.snapshots == 140
    telemetry.stop()


def test_azure_monitor_is_taken_with_its_connection_string(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL", "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED"):
        monkeypatch.setenv(name, "true")
    key = "InstrumentationKey=11111111-2222-3333-4444-555555555555;IngestionEndpoint=http://127.0.0.1:9/"
    monkeypatch.setenv("APPLICATIONINSIGHTS_CONNECTION_STRING", key)
    config = load(root=tmp_path, telemetry={"traces": "azure_monitor", "metrics": "azure_monitor"}).telemetry
    for made in (export._span_exporter(config), export._metric_exporter(config)):
        assert made._endpoint.rstrip("/") == "http://127.0.0.1:9"
        assert made.storage is None  # nothing is left on the disk
        made.shutdown()
    monkeypatch.delenv("APPLICATIONINSIGHTS_CONNECTION_STRING")
    with pytest.raises(ConfigError, match="the environment has no APPLICATIONINSIGHTS_CONNECTION_STRING"):
        export._span_exporter(config)


@pytest.mark.parametrize(
    ("exporter", "missing", "extra"),
    [
        ("otlp", "opentelemetry.sdk.trace", "otlp"),
        ("otlp", "opentelemetry.exporter", "otlp"),
        ("azure_monitor", "azure.monitor", "azure-monitor"),
    ],
)
def test_what_is_not_installed_is_named_with_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exporter: str, missing: str, extra: str
) -> None:
    monkeypatch.setenv("APPLICATIONINSIGHTS_CONNECTION_STRING", "InstrumentationKey=x")
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith(missing):
            raise ModuleNotFoundError(f"No module named {name!r}", name=missing)
        return real(name, *rest, **more)

    monkeypatch.delitem(sys.modules, "observer_core.runtime.telemetry.export", raising=False)
    monkeypatch.delattr("observer_core.runtime.telemetry.export", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    it = market(tmp_path, telemetry={"traces": exporter})
    with pytest.raises(ConfigError, match=rf'which is not installed: pip install "qts-observer\[{extra}\]"'):
        Telemetry(it, Metrics(it))


def test_nothing_global_is_set(tmp_path: Path) -> None:
    before = global_trace.get_tracer_provider(), global_metrics.get_meter_provider()
    it = market(tmp_path)
    export.metrics(it, Metrics(it), InMemoryMetricReader())()
    assert (global_trace.get_tracer_provider(), global_metrics.get_meter_provider()) == before


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"traces": "jaeger"}, "telemetry.traces"),
        ({"sample": 0}, "telemetry.sample"),
        ({"sample": 1.5}, "telemetry.sample"),
        ({"series": 1}, "telemetry.series"),
        ({"endpoint": "https://x.example.org"}, "telemetry.endpoint"),
        ({"unknown": 1}, "telemetry.unknown: unknown key"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(tmp_path: Path, given: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        load(root=tmp_path, telemetry=given)
