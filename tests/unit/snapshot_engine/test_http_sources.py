"""Sources that are asked over HTTP: JSON by paths, Prometheus' text format, and every way to be refused."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observer_core.runtime import settings
from observer_core.runtime import sources as runtime_sources
from observer_core.runtime.sources import live_sources
from observer_core.safety.outbound import Answer
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import ConfigError, ObserverError
from observer_core.snapshot_engine.normalise import Normaliser
from observer_core.snapshot_engine.source import collect_safely
from observer_core.snapshot_engine.sources.http_api import HttpApiConfig, HttpApiSource
from observer_core.snapshot_engine.sources.json_rows import JsonRows
from observer_core.snapshot_engine.sources.prometheus import PrometheusConfig, PrometheusSource

NOW = 1_700_000_000 * SECOND
TICKERS = {
    "ts": 1_699_999_999_500,
    "data": [
        {"symbol": "BTC/USDT", "last": "36123.50", "vol": 12},
        {"symbol": "ETH/USDT", "last": 1999.25, "vol": 345.5},
    ],
}
ROWS = {"rows": "data", "subject": "symbol", "time": "ts", "fields": {"price": "last", "volume": "vol"}}


class Server(ThreadingHTTPServer):
    """Answers each path with what a test has put there: (status, headers, body)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.released = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def put(self, path: str, content: Any, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.pages[path] = (status, headers, body)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.command, self.path, dict(self.headers), body))
        status, headers, content = self.server.pages.get(self.path, (404, {}, b""))
        if headers.get("ETag") and self.headers.get("If-None-Match") == headers["ETag"]:
            status, content = 304, b""
        if self.path == "/slow":
            self.server.released.wait(20)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()


def http(server: Server, path: str = "/tickers", **changes: Any) -> HttpApiSource:
    given = {"url": server.url + path, "allow_private": True, **ROWS, **changes}
    return HttpApiSource("rates", HttpApiConfig(**given), lambda name: f"secret of {name}")


def scraped(server: Server, text: str, **changes: Any) -> PrometheusSource:
    server.put("/metrics", text.encode())
    given = {
        "url": f"{server.url}/metrics",
        "allow_private": True,
        "instance": "web-1",
        "metrics": ("*",),
        **changes,
    }
    return PrometheusSource("node", PrometheusConfig(**given), lambda name: name)


class TestJson:
    def test_paths_find_rows_subjects_fields_and_time(self, server: Server) -> None:
        server.put("/tickers", TICKERS)
        snapshot = http(server).collect(NOW)
        assert snapshot.subjects == ("BTC/USDT", "ETH/USDT")
        assert snapshot.fields["price"].tolist() == [36123.5, 1999.25]
        assert snapshot.fields["volume"].tolist() == [12.0, 345.5]
        assert (snapshot.event_ns, snapshot.ingest_ns) == (1_699_999_999_500_000_000, NOW)
        assert (snapshot.status, snapshot.error) == ("ok", None)

    def test_one_object_is_one_row_under_a_given_name(self, server: Server) -> None:
        server.put("/tickers", {"rate": {"krw": 1_391.5}})
        source = http(
            server, rows="rate", subject=None, subject_name="USD/KRW", time=None, fields={"price": "krw"}
        )
        snapshot = source.collect(NOW)
        assert (snapshot.subjects, snapshot.fields["price"].tolist()) == (("USD/KRW",), [1391.5])
        assert snapshot.event_ns == NOW

    def test_what_a_row_lacks_is_missing_and_said(self, server: Server) -> None:
        rows = [
            *TICKERS["data"],
            {"symbol": "X", "last": "n/a"},
            {"last": 1},
            7,
            {"symbol": "X", "last": 2, "vol": 2},
        ]  # type: ignore[misc]
        server.put("/tickers", {**TICKERS, "data": rows})
        snapshot = http(server).collect(NOW)
        assert snapshot.subjects == ("BTC/USDT", "ETH/USDT", "X")
        assert math.isnan(snapshot.fields["price"][2])
        assert snapshot.status == "partial"
        assert snapshot.error == (
            "row 4 is 7, an object was expected; row 3: its subject is NoneType, expected text; "
            "row 5: subject 'X' stands there twice, the first counts; and 2 more"
        )

    @pytest.mark.parametrize(
        ("content", "what"),
        [
            (b"<html>busy</html>", "the answer is not JSON (text/html): '<html>busy</html>'"),
            (b"", "the answer is not JSON"),
            ({"data": []}, "found None at 'ts', expected RFC 3339 or epoch"),
            ({"ts": 1_700_000_000, "data": []}, "no row was found at 'data'"),
            ({"ts": "soon", "data": []}, "soon"),
        ],
    )
    def test_an_answer_that_is_none_makes_the_source_unavailable(
        self, server: Server, content: Any, what: str
    ) -> None:
        server.put("/tickers", content, Content_Type="text/html")
        snapshot = collect_safely(http(server), NOW)
        assert snapshot.status == "unavailable"
        assert what in str(snapshot.error)

    @pytest.mark.parametrize("status", [301, 400, 401, 404, 429, 500, 503])
    def test_only_2xx_is_an_answer(self, server: Server, status: int) -> None:
        server.put("/tickers", TICKERS, status)
        snapshot = collect_safely(http(server), NOW)
        assert snapshot.status == "unavailable"
        assert f"answered {status}; 2xx was expected" in str(snapshot.error)

    def test_after_429_it_is_left_alone_as_long_as_it_asks(self, server: Server) -> None:
        source = http(server)
        server.put("/tickers", {}, 429, Retry_After="30")
        collect_safely(source, NOW)
        server.put("/tickers", TICKERS)
        early = collect_safely(source, NOW + 29 * SECOND)
        assert "asked to be left alone until 2023-11-14T22:13:50Z" in str(early.error)
        assert collect_safely(source, NOW + 30 * SECOND).status == "ok"
        assert len(server.requests) == 2

    def test_an_unchanged_answer_is_not_sent_again_and_repeats_the_last(self, server: Server) -> None:
        server.put("/tickers", TICKERS, ETag='"v1"')
        source = http(server)
        first, again = source.collect(NOW), source.collect(NOW + SECOND)
        assert [request[2].get("If-None-Match") for request in server.requests] == [None, '"v1"']
        assert again.fields["price"].tolist() == first.fields["price"].tolist()
        assert (again.event_ns, again.ingest_ns) == (first.event_ns, NOW + SECOND)

    def test_an_answer_that_could_not_be_used_is_asked_for_again(self, server: Server) -> None:
        server.put("/tickers", b"<html>", ETag='"v1"')
        source = http(server)
        assert [collect_safely(source, NOW + n).status for n in range(2)] == ["unavailable"] * 2
        assert [request[2].get("If-None-Match") for request in server.requests] == [None, None]

    def test_a_first_page_that_has_not_changed_says_nothing_of_the_others(self, server: Server) -> None:
        for number, following in ((0, "/page1"), (1, None)):
            row = {"symbol": f"S{number}", "last": number, "vol": 1}
            page = {"ts": 1_700_000_000, "data": [row], "next": following}
            server.put(f"/page{number}", page, ETag=f'"{number}"')
        source = http(server, "/page0", next="next", max_pages=3)
        source.collect(NOW)
        assert source.collect(NOW + SECOND).subjects == ("S0", "S1")
        assert not any(request[2].get("If-None-Match") for request in server.requests)

    def test_pages_are_followed_on_the_same_host_up_to_a_limit(self, server: Server) -> None:
        for number in range(4):
            row = {"symbol": f"S{number}", "last": number, "vol": 1}
            server.put(f"/page{number}", {"ts": 1_700_000_000, "data": [row], "next": f"/page{number + 1}"})
        snapshot = http(server, "/page0", next="next", max_pages=3).collect(NOW)
        assert snapshot.subjects == ("S0", "S1", "S2")
        assert snapshot.error == "more than 3 pages (max_pages)"
        server.put("/page0", {**TICKERS, "next": "https://evil.example/page"})
        snapshot = collect_safely(http(server, "/page0", next="next", max_pages=3), NOW)
        assert "the next page is on another host (evil.example); it is not followed" in str(snapshot.error)

    def test_secrets_stand_in_headers_alone(self, server: Server) -> None:
        server.put("/tickers", TICKERS, 401)
        source = http(server, headers={"Authorization": {"env": "RATES", "prefix": "Bearer "}, "X-Desk": "7"})
        snapshot = collect_safely(source, NOW)
        headers = server.requests[0][2]
        assert (headers["Authorization"], headers["X-Desk"]) == ("Bearer secret of RATES", "7")
        assert "secret of" not in str(snapshot.error) + repr(source) + repr(vars(source))

    def test_a_body_is_posted(self, server: Server) -> None:
        server.put("/tickers", TICKERS)
        http(server, method="POST", body='{"all": true}').collect(NOW)
        assert (server.requests[0][0], server.requests[0][3]) == ("POST", b'{"all": true}')

    def test_what_is_too_slow_or_too_large_is_cut_off(self, server: Server) -> None:
        server.put("/slow", TICKERS)
        snapshot = collect_safely(http(server, "/slow", timeout="200ms"), NOW)
        assert "did not answer within 0.2 s" in str(snapshot.error)
        server.put("/tickers", TICKERS)
        snapshot = collect_safely(http(server, max_bytes=50), NOW)
        assert "answered with more than 50 bytes (max_bytes)" in str(snapshot.error)

    def test_private_networks_are_closed_unless_opened(self, server: Server) -> None:
        snapshot = collect_safely(http(server, allow_private=False), NOW)
        assert "is at 127.0.0.1, which is not a public address; set allow_private = true" in str(
            snapshot.error
        )
        assert not server.requests

    @pytest.mark.parametrize(
        ("changes", "what"),
        [
            ({"rows": "data["}, "not a JMESPath"),
            ({"subject": None}, "give subject"),
            ({"subject_name": "X"}, "and not both"),
            ({"next": "n"}, "next is of no use with max_pages = 1"),
            ({"body": "x"}, 'body goes with method = "POST"'),
            ({"fields": {}}, "at least 1 item"),
            ({"url": "ftp://x"}, "String should match pattern"),
        ],
    )
    def test_a_mapping_that_cannot_be_is_refused(self, changes: dict[str, Any], what: str) -> None:
        with pytest.raises(ValueError, match=what):
            HttpApiConfig(**{"url": "https://api.example/x", **ROWS, **changes})


keys = st.sampled_from(["data", "ts", "symbol", "last", "vol"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


@given(json_values, st.sampled_from(["data", "@", "data[]", "data[*].last", "values(@)"]))
def test_any_json_gives_a_snapshot_or_an_unavailable_one(value: Any, rows: str) -> None:
    config = HttpApiConfig(url="https://api.example/x", **{**ROWS, "rows": rows})
    source = HttpApiSource("rates", config, str)

    class Given:
        name, interval_ns = "rates", SECOND

        def collect(self, now_ns: int) -> Any:
            return source._snapshot(Answer(200, {}, json.dumps(value).encode()), now_ns)

        def close(self) -> None: ...

    normaliser = Normaliser()
    snapshot = normaliser.apply(normaliser.initial(), collect_safely(Given(), NOW))
    assert snapshot.status in ("ok", "partial", "unavailable")
    assert snapshot.encode(1)
    assert (snapshot.error is None) == (snapshot.status == "ok")


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types: 1 is not 1.0, and NaN is NaN."""
    return repr(one) == repr(other)


@given(json_values, st.sampled_from(["data", "@"]), st.booleans())
def test_the_decoder_for_plain_names_reads_what_jmespath_reads(value: Any, rows: str, named: bool) -> None:
    reader = JsonRows(
        rows, "symbol" if named else None, ["last", "vol", "last"], {} if rows == "@" else {"time": "ts"}
    )
    assert reader._fast is not None
    body = json.dumps(value).encode()
    try:
        document = orjson.loads(body)
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011 - whichever parser meets it
            reader.read(body)
        return
    assert same(reader.read(body)._asdict(), reader._search(document)._asdict())


def test_paths_that_are_more_than_names_are_read_by_jmespath() -> None:
    for rows, subject, fields, single in (
        ("data[]", "s", ["a"], {}), ("data", "s.t", ["a"], {}), ("data", "s", ["a.b"], {}),
        ("@", "s", ["a"], {"time": "ts"}), ("data", "s", ["a"], {"time": "data"}),
    ):  # fmt: skip
        assert JsonRows(rows, subject, fields, single)._fast is None


def test_decimals_are_kept_exactly_where_a_double_is_not_exact(server: Server) -> None:
    rows = [
        {"symbol": "A", "last": "0.35130000", "vol": "123456789.123456789123"},
        {"symbol": "B", "last": "1e-7", "vol": 12345678901234567891},
    ]
    server.put("/tickers", {"ts": 1_700_000_000, "data": rows})
    snapshot = http(server).collect(NOW)
    assert snapshot.fields["price"].tolist() == [0.3513, 1e-7]
    assert snapshot.decimals == {"volume": {"A": "123456789.123456789123", "B": "12345678901234567891"}}


class TestPrometheus:
    TEXT = (
        "# HELP node_load1 1m load average.\n# TYPE node_load1 gauge\nnode_load1 0.21\n"
        "# TYPE node_cpu_seconds_total counter\n"
        'node_cpu_seconds_total{cpu="0",mode="idle"} 1234.5\n'
        'node_cpu_seconds_total{cpu="0",mode="user"} 12.25\n'
        "node_memory_MemFree_bytes 1.5e+09\n"
    )

    def test_metrics_are_fields_and_labels_make_subjects(self, server: Server) -> None:
        snapshot = scraped(server, self.TEXT).collect(NOW)
        assert snapshot.subjects == ("web-1", "web-1/cpu=0,mode=idle", "web-1/cpu=0,mode=user")
        assert snapshot.fields["node_load1"][0] == 0.21
        assert snapshot.fields["node_cpu_seconds_total"].tolist()[1:] == [1234.5, 12.25]
        assert math.isnan(snapshot.fields["node_cpu_seconds_total"][0])

    def test_names_and_labels_filter(self, server: Server) -> None:
        source = scraped(server, self.TEXT, metrics=("node_cpu_*",), labels={"mode": "i*"})
        assert source.collect(NOW).subjects == ("web-1/cpu=0,mode=idle",)

    def test_values_that_are_no_numbers_are_left_out_and_counted(self, server: Server) -> None:
        snapshot = scraped(server, "a 1\nb NaN\nc +Inf\n").collect(NOW)
        assert (list(snapshot.fields), snapshot.status) == (["a"], "partial")
        assert snapshot.error == "2 samples without a finite value or a name that can be shown"

    def test_no_more_samples_than_allowed(self, server: Server) -> None:
        text = "".join(f'a{{n="{number}"}} 1\n' for number in range(9))
        snapshot = scraped(server, text, max_samples=4).collect(NOW)
        assert len(snapshot.subjects) == 4
        assert snapshot.error == "9 samples, the first 4 count (max_samples)"

    @pytest.mark.parametrize("text", ["<html>", 'a{b="} 1', "a b c d"])
    def test_what_is_no_such_text_makes_the_source_unavailable(self, server: Server, text: str) -> None:
        snapshot = collect_safely(scraped(server, text), NOW)
        assert snapshot.status == "unavailable"
        assert "the answer is not in Prometheus' text format" in str(snapshot.error)

    def test_an_answer_without_what_was_asked_for_is_none(self, server: Server) -> None:
        snapshot = collect_safely(scraped(server, self.TEXT, metrics=("disk_*",)), NOW)
        assert "the answer has no sample of disk_*" in str(snapshot.error)

    def test_the_observers_own_metrics_can_be_observed(self, server: Server, tmp_path: Path) -> None:
        from observer_core.runtime.metrics import Metrics
        from observer_core.runtime.observer import Observer
        from observer_core.storage.memory import MemoryStorage

        text = Metrics(Observer(settings.load(root=tmp_path), MemoryStorage())).render().decode()
        assert scraped(server, text, metrics=("observer_*",)).collect(NOW).fields["observer_up"].tolist()


class TestConfigured:
    def test_both_kinds_come_from_the_configuration(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RATES_KEY", "s3cret")
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / "observer.toml").write_text(
            f'[[source]]\nname = "rates"\nkind = "http"\nurl = "{server.url}/tickers"\ninterval = "5s"\n'
            'allow_private = true\nheaders = { X-Key = { env = "RATES_KEY" } }\nrows = "data"\n'
            'subject = "symbol"\ntime = "ts"\nfields = { price = "last" }\n'
            f'[[source]]\nname = "node"\nkind = "prometheus"\nurl = "{server.url}/metrics"\n'
            'allow_private = true\ninstance = "web-1"\nmetrics = ["node_*"]\n'
        )
        server.put("/tickers", TICKERS)
        server.put("/metrics", TestPrometheus.TEXT.encode())
        loaded = settings.load(root=tmp_path)
        assert "s3cret" not in repr(loaded)
        found = {live.name: live.source.collect(NOW).subjects for live in live_sources(loaded)}
        assert found["rates"] == ("BTC/USDT", "ETH/USDT")
        assert found["node"][0] == "web-1"
        assert server.requests[0][2]["X-Key"] == "s3cret"

    def test_a_secret_that_is_missing_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("RATES_KEY", raising=False)
        source = {
            "name": "rates", "kind": "http", "url": "https://api.example/x", **ROWS,
            "headers": {"X-Key": {"env": "RATES_KEY"}},
        }  # fmt: skip
        with pytest.raises(ConfigError, match="the environment has no RATES_KEY"):
            live_sources(settings.load(root=tmp_path, config_dir=tmp_path, source=(source,)))


def test_only_errors_of_ours_leave_a_source(server: Server) -> None:
    with pytest.raises(ObserverError):
        http(server, "/missing").collect(NOW)


def test_the_example_configuration_can_be_used() -> None:
    path = Path(runtime_sources.__file__).parent / "sources.example.toml"
    kinds = [item.kind for item in settings.load(path).source]
    assert set(kinds) == {"system", "http", "prometheus", "market", "push", "recording", "derived"}
