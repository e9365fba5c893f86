"""Where lines go, what is masked, and that logging never disturbs whoever logs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from observer_core.logs.configure import LINE_BYTES, Logs, configure, configure_for_host, for_people
from observer_core.logs.files import LogFile
from observer_core.shared.errors import ConfigError

Configure = Callable[..., Logs]


@pytest.fixture
def configured() -> Iterator[Configure]:
    made: list[Logs] = []

    def call(*args: Any, **options: Any) -> Logs:
        made.append(configure(*args, **options))
        return made[-1]

    yield call
    for logs in made:
        logs.close()
    structlog.reset_defaults()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("logger", "file"),
    [
        ("observer.snapshot", "snapshot.log"),
        ("observer.snapshot.host", "snapshot.log"),
        ("observer.pattern.cusum", "pattern.log"),
        ("observer.decision", "decision.log"),
        ("observer.run", "observer.log"),
        ("observer.snapshots_of_something_else", "observer.log"),
    ],
)
def test_a_line_goes_to_the_file_of_its_logger(
    configured: Configure, tmp_path: Path, logger: str, file: str
) -> None:
    configured(tmp_path)
    structlog.get_logger(logger).info("seen", count=3)
    (line,) = lines(tmp_path / file)
    assert {key: line[key] for key in ("level", "logger", "event", "count")} == {
        "level": "info", "logger": logger, "event": "seen", "count": 3,
    }  # fmt: skip
    assert line["timestamp"].endswith("Z")
    assert sum(len(lines(path)) for path in tmp_path.iterdir()) == 1


def test_warnings_and_errors_of_all_are_in_the_main_file_too(configured: Configure, tmp_path: Path) -> None:
    configured(tmp_path)
    log = structlog.get_logger("observer.decision")
    log.info("quiet")
    log.warning("odd")
    log.error("bad")
    assert [line["event"] for line in lines(tmp_path / "observer.log")] == ["odd", "bad"]
    assert [line["event"] for line in lines(tmp_path / "decision.log")] == ["quiet", "odd", "bad"]


def test_lines_below_the_level_are_not_written(configured: Configure, tmp_path: Path) -> None:
    configured(tmp_path, level="warning")
    structlog.get_logger("observer.run").info("quiet")
    assert lines(tmp_path / "observer.log") == []


def test_warnings_of_libraries_are_lines_too(configured: Configure, tmp_path: Path) -> None:
    logs = configured(tmp_path)
    logging.getLogger("some.library").warning("token=%s is odd", "abcdef")
    malformed = logging.LogRecord("some.library", logging.WARNING, "", 1, "%d", ("not a number",), None)
    logs.libraries.handle(malformed)
    first, second = lines(tmp_path / "observer.log")
    assert first["logger"] == "some.library"
    assert first["event"] == "token=*** is odd"
    assert "malformed" in second["event"]


def test_an_exception_is_written_with_its_traceback(configured: Configure, tmp_path: Path) -> None:
    configured(tmp_path)
    try:
        raise ValueError("password=hunter2 did not fit")
    except ValueError:
        structlog.get_logger("observer.run").exception("failed")
    (line,) = lines(tmp_path / "observer.log")
    assert "ValueError: password=*** did not fit" in line["exception"]


def test_secrets_are_masked_wherever_they_stand(configured: Configure, tmp_path: Path) -> None:
    configured(tmp_path)
    structlog.get_logger("observer.run").info(
        "sent to https://user:hunter2@example.org/?sig=hunter2&x=1 with Bearer hunter2hunter2",
        token="hunter2",
        apiKey="hunter2",
        nested={"client_secret": "hunter2", "list": [{"Authorization": "hunter2"}]},
        typed=SecretStr("hunter2"),
        monkey="ape",
        empty_token=None,
    )
    text = (tmp_path / "observer.log").read_text()
    assert "hunter2" not in text
    (line,) = lines(tmp_path / "observer.log")
    assert line["monkey"] == "ape"
    assert line["empty_token"] is None
    assert "x=1" in line["event"]


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_no_value_makes_logging_raise(configured: Configure, tmp_path: Path) -> None:
    logs = configured(tmp_path)
    loop: list[Any] = []
    loop.append(loop)
    log = structlog.get_logger("observer.run")
    log.info("\ud800", big=10**40, odd={1: object()}, loop=loop, nan=float("nan"), text="a\nb\x1b[0m")
    log.info("unshowable", value=Unshowable())
    log.info("after")
    first, last = lines(tmp_path / "observer.log")
    assert first["big"] == 10**40
    assert first["text"] == "a\nb\x1b[0m"
    assert last["event"] == "after"
    assert logs.lost == 1


def test_files_are_rotated_and_the_oldest_goes(configured: Configure, tmp_path: Path) -> None:
    configured(tmp_path, max_bytes=2000, files=3)
    log = structlog.get_logger("observer.pattern")
    for number in range(100):
        log.info("line", number=number)
    files = sorted(path.name for path in tmp_path.glob("pattern.log*"))
    assert files == ["pattern.log", "pattern.log.1", "pattern.log.2"]
    assert all((tmp_path / name).stat().st_size <= 2000 for name in files)
    numbers = [line["number"] for name in reversed(files) for line in lines(tmp_path / name)]
    assert numbers == list(range(numbers[0], 100))


def test_all_files_together_are_no_larger_than_their_number_allows(
    configured: Configure, tmp_path: Path
) -> None:
    configured(tmp_path, max_bytes=100_000, files=3)
    logs = [structlog.get_logger(f"observer.{kind}") for kind in ("snapshot", "pattern", "decision", "run")]
    for number in range(60):
        for log in logs:
            log.error("long", number=number, text="é\n" * 3_000, more={"a": ["x" * 500] * 60})
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 4 * 3
    assert max(sizes) <= 100_000
    assert sum(sizes) > 6 * 100_000


def test_a_line_is_never_longer_than_the_least_file_and_still_json(
    configured: Configure, tmp_path: Path
) -> None:
    configured(tmp_path, max_bytes=LINE_BYTES)
    log = structlog.get_logger("observer.run")
    log.error("x" * 10**6, text="\ud800" * 10**5, **{f"f{n}": "\x01" * 2_000 for n in range(200)}, last=1)
    (line,) = lines(tmp_path / "observer.log")
    assert (tmp_path / "observer.log").stat().st_size <= LINE_BYTES
    assert (line["level"], line["logger"], line["cut"]) == ("error", "observer.run", True)
    assert line["event"].startswith("xxx")
    assert "1,000,000 characters" in line["event"]


def test_a_single_file_starts_over_when_it_is_full(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "x.log", 100, 1)
    for number in range(100):
        file.write(f'{{"number":{number}}}')
    file.close()
    assert (tmp_path / "x.log").stat().st_size <= 100
    assert lines(tmp_path / "x.log")[-1] == {"number": 99}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_costs_lines_and_nothing_else(
    configured: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "observer.log").symlink_to("/dev/full")
    logs = configured(tmp_path)
    for number in range(5):
        structlog.get_logger("observer.run").info("lost", number=number)
    structlog.get_logger("observer.pattern").info("kept")
    assert logs.lost == 5
    assert [line["event"] for line in lines(tmp_path / "pattern.log")] == ["kept"]
    logs.close()
    assert capsys.readouterr().err == ""


def test_writing_goes_on_when_there_is_space_again(configured: Configure, tmp_path: Path) -> None:
    (tmp_path / "observer.log").symlink_to("/dev/full")
    logs = configured(tmp_path)
    log = structlog.get_logger("observer.run")
    log.info("lost")
    (tmp_path / "observer.log").unlink()
    log.info("kept")
    assert logs.lost == 1
    assert [line["event"] for line in lines(tmp_path / "observer.log")] == ["kept"]


def test_half_a_line_left_by_a_crash_does_not_spoil_the_next(configured: Configure, tmp_path: Path) -> None:
    (tmp_path / "observer.log").write_text('{"event":"whole"}\n{"event":"ha')
    configured(tmp_path)
    structlog.get_logger("observer.run").info("next")
    text = (tmp_path / "observer.log").read_text().splitlines()
    assert text[1] == '{"event":"ha'
    assert json.loads(text[2])["event"] == "next"


def test_a_folder_that_cannot_be_one_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(ConfigError, match=r"log folder '.*logs' cannot be written: .*OBSERVER_LOG_DIR"):
        configure(tmp_path / "logs")


def test_a_file_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "snapshot.log").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        configure(tmp_path)


def test_after_close_lines_go_nowhere(configured: Configure, tmp_path: Path) -> None:
    logs = configured(tmp_path)
    logs.close()
    logs.close()
    structlog.get_logger("observer.run").error("late")
    logging.getLogger("library").error("late")
    assert lines(tmp_path / "observer.log") == []


def test_the_console_shows_lines_without_secrets_or_files(configured: Configure) -> None:
    stream = StringIO()
    configured(None, console=True, stream=stream)
    structlog.get_logger("observer.run").info("started", port=8000, token="hunter2")
    assert "started" in stream.getvalue()
    assert "port=8000" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_what_a_command_logs_is_on_standard_error_without_secrets_or_variables(
    capsys: pytest.CaptureFixture[str],
) -> None:
    secret = "hunter2hunter2"
    with for_people():
        log = structlog.get_logger("observer.engine")
        log.info("quiet")
        try:
            raise ValueError("token=" + secret)
        except ValueError:
            log.exception("failed", exception_of="x")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "failed" in captured.err
    assert "ValueError: token=***" in captured.err
    assert "quiet" not in captured.err
    assert secret not in captured.err.replace('"token=" + secret', "")
    assert not structlog.is_configured()


def test_a_command_inside_of_something_that_logs_logs_there(configured: Configure, tmp_path: Path) -> None:
    configured(tmp_path)
    with for_people():
        structlog.get_logger("observer.run").info("seen")
    assert [line["event"] for line in lines(tmp_path / "observer.log")] == ["seen"]
    structlog.get_logger("observer.run").info("after")
    assert len(lines(tmp_path / "observer.log")) == 2


def test_for_a_host_each_line_goes_through_logging_once_and_masked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    before = structlog.get_config()
    try:
        configure_for_host("info")
        log = structlog.get_logger("observer.functions")
        log.debug("not this")
        log.warning("lags", password="hunter2", stage="publish")
        try:
            raise ValueError("wrong")
        except ValueError:
            log.exception("failed")
    finally:
        structlog.configure(**before)
    first, second = (json.loads(record.message) for record in caplog.records)
    assert (first["event"], first["level"], first["stage"]) == ("lags", "warning", "publish")
    assert first["logger"] == caplog.records[0].name == "observer.functions"
    assert "hunter2" not in caplog.text
    assert "ValueError: wrong" in second["exception"]
    assert not list(tmp_path.iterdir())
