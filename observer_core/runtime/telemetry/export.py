"""Traces and metrics sent out, by the OpenTelemetry SDK. Only imported where `[telemetry]` asks for it.

The providers are this Observer's own: nothing global is set, so that no library begins to trace itself.
What cannot be sent is dropped, after a bounded queue is full, and the work never waits for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from observer_core.runtime.settings import exporter_values
from observer_core.runtime.telemetry.config import TelemetryConfig
from observer_core.runtime.telemetry.instruments import INSTRUMENTS, Instrument
from observer_core.runtime.telemetry.tracing import Tracing
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import ConfigError

if TYPE_CHECKING:
    from observer_core.runtime.metrics import Metrics
    from observer_core.runtime.observer import Observer

NAME: Final = "qts-observer"
_STOP_SECONDS: Final = 5.0
_TIMEOUT_SECONDS: Final = 10
_FINITE: Final = 1e300


def resource(observer: Observer) -> Resource:
    """Who says it all."""
    return Resource.create({
        "service.name": NAME, "service.version": observer.build.version,
        "service.instance.id": observer.journals.worker,
    })  # fmt: skip


def tracing(observer: Observer, processor: SpanProcessor | None = None) -> Tracing:
    """Spans that go to `processor`, or whereto `[telemetry]` says; `ConfigError` when that cannot be."""
    config = observer.settings.telemetry
    ids, sampler = _Ids(), TraceIdRatioBased(config.sample)
    provider = TracerProvider(
        sampler=sampler, resource=resource(observer), id_generator=ids,
        span_limits=SpanLimits(max_attributes=32, max_events=8, max_links=16), shutdown_on_exit=False,
    )  # fmt: skip
    provider.add_span_processor(processor or BatchSpanProcessor(_span_exporter(config)))
    tracer = provider.get_tracer(NAME, observer.build.version)

    def takes(trace_id: int) -> bool:
        return (trace_id & TraceIdRatioBased.TRACE_ID_LIMIT) < sampler.bound

    return Tracing(tracer, ids.given, takes, observer.journals, lambda: _in_time(provider.shutdown))


def metrics(observer: Observer, found: Metrics, reader: MetricReader | None = None) -> Callable[[], None]:
    """Every instrument's values go to `reader`, or whereto `[telemetry]` says; gives what ends that."""
    config = observer.settings.telemetry
    if reader is None:
        reader = PeriodicExportingMetricReader(
            _metric_exporter(config), export_interval_millis=config.every / SECOND * 1000,
            export_timeout_millis=_TIMEOUT_SECONDS * 1000,
        )  # fmt: skip
    provider = MeterProvider([reader], resource(observer), shutdown_on_exit=False)
    meter = provider.get_meter(NAME, observer.build.version)
    for item in INSTRUMENTS:
        name = item.name.removesuffix("_total")
        if item.kind == "counter":
            meter.create_observable_counter(name, [_reads(found, item)], item.unit, item.text)
        elif item.kind == "gauge":
            meter.create_observable_gauge(name, [_reads(found, item)], item.unit, item.text)
    for histogram in found.histograms():
        item = histogram.instrument
        histogram.also = meter.create_histogram(
            item.name, item.unit, item.text, explicit_bucket_boundaries_advisory=item.bounds
        ).record
    return lambda: _in_time(provider.shutdown)


def _reads(found: Metrics, item: Instrument) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def read(_: CallbackOptions) -> Iterator[Observation]:
        for labels, value in found.values(item).items():
            if abs(value) < _FINITE:  # "none yet" has no number that a service takes
                yield Observation(value, dict(zip(item.labels, labels)))

    return read


def _span_exporter(config: TelemetryConfig) -> Any:
    values = exporter_values(config)
    try:
        if config.traces == "azure_monitor":
            from azure.monitor.opentelemetry.exporter import AzureMonitorTraceExporter

            return AzureMonitorTraceExporter(**_azure(values))
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ModuleNotFoundError as error:
        raise _missing(config.traces, error) from None
    return OTLPSpanExporter(**_otlp(values, "v1/traces"))


def _metric_exporter(config: TelemetryConfig) -> Any:
    values = exporter_values(config)
    try:
        if config.metrics == "azure_monitor":
            from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter

            return AzureMonitorMetricExporter(**_azure(values))
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    except ModuleNotFoundError as error:
        raise _missing(config.metrics, error) from None
    return OTLPMetricExporter(**_otlp(values, "v1/metrics"))


def _azure(values: dict[str, str]) -> dict[str, Any]:
    # Nothing is left on this disk, and nothing of what it sends is told to anybody but the resource.
    return {"connection_string": values["connection"], "disable_offline_storage": True}


def _otlp(values: dict[str, str], path: str) -> dict[str, Any]:
    pairs = [item.partition("=") for item in values["headers"].split(",") if "=" in item]
    return {
        "endpoint": f"{values['endpoint'].rstrip('/')}/{path}", "timeout": _TIMEOUT_SECONDS,
        "headers": {name.strip(): value.strip() for name, _, value in pairs},
    }  # fmt: skip


def _missing(exporter: str, error: ModuleNotFoundError) -> ConfigError:
    extra = exporter.replace("_", "-")
    return ConfigError(
        f"telemetry: {exporter} needs {error.name}, which is not installed: "
        f'pip install "qts-observer[{extra}]"'
    )


def _in_time(stop: Callable[[], object]) -> None:
    """Sends what is left, but does not wait long for a service that does not answer."""
    thread = threading.Thread(target=stop, name="telemetry", daemon=True)
    thread.start()
    thread.join(_STOP_SECONDS)


class _Ids(RandomIdGenerator):
    """Random ids, but where they are given."""

    def __init__(self) -> None:
        self._next = threading.local()

    @contextmanager
    def given(self, trace_id: int, span_id: int) -> Iterator[None]:
        self._next.ids = trace_id, span_id
        try:
            yield
        finally:
            self._next.ids = None

    def generate_trace_id(self) -> int:
        found = getattr(self._next, "ids", None)
        return super().generate_trace_id() if found is None else int(found[0])

    def generate_span_id(self) -> int:
        found = getattr(self._next, "ids", None)
        return super().generate_span_id() if found is None else int(found[1])
