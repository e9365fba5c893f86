"""A DuckDB database over the journals: packed stretches as Parquet files, what is not packed yet from memory.

Reads only; what is committed after it was opened is not in it. Numbers are those of the records: a decimal is
its mantissa divided by its power of ten, which gives the double that was recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from observer_core.runtime.lake.tail import tail
from observer_core.shared.canonical import decode
from observer_core.shared.clock import format_time
from observer_core.shared.errors import ConfigError, InputError, NotFound, RecordError
from observer_core.storage.archive.packs import Packs
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_JSON: Final = "line->>'$.{0}' AS {0}"
_VIEWS: Final[Mapping[str, tuple[str, str, tuple[str, ...]]]] = {
    "patterns": ("patterns", "pattern", (
        "id", "pattern", "severity", "direction", "(line->>'$.score')::DOUBLE AS score",
        "line->>'$.series[0][0]' AS source", "line->>'$.series[0][1]' AS subject",
        "line->>'$.series[0][2]' AS field", "line->'$.series' AS series", "line->'$.evidence' AS evidence",
        "line->'$.tags' AS tags", "detector", "snapshot",
    )),
    "events": ("events", "event", (
        "id", "type", "source", "subject", "line->>'$.severitytext' AS severity", "line->'$.data' AS data",
        "causationid", "correlationid",
    )),
    "decisions": ("decisions", "decision", (
        "id", "verdict", "scope", "policy", "(line->>'$.policy_version')::BIGINT AS policy_version",
        "severity", "line->>'$.reasons[0].code' AS code", "line->>'$.reasons[0].text' AS reason",
        "make_timestamp_ns((line->>'$.until_ns')::BIGINT) AS until", "line->'$.reasons' AS reasons",
        "line->'$.evidence' AS evidence", "line->'$.causation' AS causation",
    )),
    "evaluations": ("gate", "evaluation", (
        "verdict", "caller", "action", "resource", "line->'$.reasons' AS reasons",
        "line->'$.context' AS context",
    )),
    "deliveries": ("results", "delivery", (
        "subscription", "record", "ref", "(line->>'$.attempt')::BIGINT AS attempt", "outcome",
        "(line->>'$.latency_ns')::BIGINT AS latency_ns", "(line->>'$.code')::BIGINT AS code", "detail",
    )),
    "routes": ("routes", "route", (
        "ref", "line->'$.to' AS \"to\"", "line->'$.grouped' AS grouped", "line->'$.stopped' AS stopped",
    )),
}  # fmt: skip
"""By view: the kind of its journals, the kind of its records, and its columns beside place and time."""
_OWN: Final = ("journal", "domain", "position", "time", "source", "event_time", "subject")
_PLACES: Final = frozenset(("subject", "position", "origin.rows"))
"""Columns of values that hold no field."""
_ROWS_AT_ONCE: Final = 1_000
_MEMORY: Final = "192MB"
"""Beyond it DuckDB puts what it sorts or groups on disk."""
_HELD_BYTES: Final = 128 * 1024 * 1024
"""Of what is not packed so much is held in memory."""
NAMES: Final = ("snapshots", "collections", *_VIEWS)


@contextmanager
def lake(journals: Journals) -> Iterator[DuckDBPyConnection]:
    """The database, with a view a kind of record; `ConfigError` where DuckDB is not installed."""
    try:
        import duckdb
    except ImportError:
        raise ConfigError(
            "SQL needs DuckDB, which is not installed: pip install 'qts-observer[sql]'"
        ) from None
    with TemporaryDirectory(prefix="observer-lake-") as folder:
        connection = duckdb.connect(
            config={
                "autoinstall_known_extensions": "false", "memory_limit": _MEMORY,
                "temp_directory": str(Path(folder) / "spilled"),
            }
        )  # fmt: skip
        try:
            _Lake(journals, connection, Path(folder)).fill()
            yield connection
        finally:
            connection.close()


def rows(connection: DuckDBPyConnection, statement: str) -> Iterator[dict[str, Any]]:
    """What one statement gives, a row at a time; `InputError` with what DuckDB says of a wrong one."""
    with _told():
        question = _question(connection, statement)
        relation = connection.sql(question)
        types = [str(kind) for kind in relation.types]
        columns = [(name, _READ.get(kind)) for name, kind in zip(_apart(relation.columns), types)]
        if _MOMENT in types:  # of which DuckDB gives no more than microseconds
            exact = [
                f"epoch_ns(#{place})" if kind == _MOMENT else f"#{place}"
                for place, kind in enumerate(types, 1)
            ]
            question = f"SELECT {', '.join(exact)} FROM ({question}\n)"
        found = connection.execute(question)
        while batch := found.fetchmany(_ROWS_AT_ONCE):
            for row in batch:
                yield {
                    name: value if value is None or read is None else read(value)
                    for (name, read), value in zip(columns, row)
                }


def drawn(connection: DuckDBPyConnection, statement: str) -> str:
    """The same as a table for people, shortened where there is much of it."""
    with _told():
        return str(connection.sql(_question(connection, statement))).rstrip()


def write(connection: DuckDBPyConnection, statement: str, out: Path) -> int:
    """The same as a file, Parquet or CSV by its name; gives the number of rows."""
    known = {".parquet": "(FORMAT parquet, COMPRESSION zstd)", ".csv": "(FORMAT csv, HEADER)"}
    how = known.get(out.suffix)
    if how is None:
        raise InputError(
            f"{out.name!r} was to be written; a name that ends in {' or '.join(known)} was expected"
        )
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out} cannot be written: there is no folder {out.parent}")
    with _told():
        copy = f"COPY ({_question(connection, statement)}\n) TO {_text(str(out))} {how}"
        return int(connection.execute(copy).fetchall()[0][0])


def _question(connection: DuckDBPyConnection, statement: str) -> str:
    """The one SELECT (or WITH, FROM, DESCRIBE, …) that a statement is, without a semicolon."""
    found = connection.extract_statements(statement)
    if len(found) != 1 or found[0].type.name != "SELECT":
        raise InputError(f"{statement.strip()[:80]!r} is not one question; a SELECT was expected")
    return found[0].query.strip().rstrip(";")


def _apart(names: Sequence[str]) -> list[str]:
    """Names of columns of which no two are the same: of `a.price, b.price` the second is `price_1`."""
    found: list[str] = []
    for name in names:
        others = (f"{name}_{number}" for number in count(1))
        found.append(
            name if name not in found else next(one for one in others if one not in (*names, *found))
        )
    return found


def _json(text: str) -> Any:
    try:
        return decode(text.encode())
    except RecordError:  # numbers that are beyond a double
        return text


_MOMENT: Final = "TIMESTAMP_NS"
_READ: Final[Mapping[str, Callable[[Any], Any]]] = {"JSON": _json, _MOMENT: format_time}


@contextmanager
def _told() -> Iterator[None]:
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise InputError(f"{error}\nthere are: {', '.join(NAMES)}") from None


class _Lake:
    def __init__(self, journals: Journals, connection: DuckDBPyConnection, folder: Path) -> None:
        self._journals, self._connection, self._folder = journals, connection, folder
        self._registered = self._held = 0
        self._columns: dict[str, set[str]] = {}
        """Of each journal, those that its values have, as they are written: DuckDB does not mind the case."""

    def fill(self) -> None:
        sources = {
            name: self._parts(name) for name in self._journals.names("snapshots")
        }  # fmt: skip
        self._view("collections", [self._collections(name, parts) for name, parts in sources.items()])
        self._view("snapshots", [self._snapshots(name, parts) for name, parts in sources.items()])
        for view, (kind, record, columns) in _VIEWS.items():
            found = [
                self._lines(name, self._parts(name)["records"], record, columns)
                for name in self._journals.names(kind)
            ]
            self._view(view, found)

    def _view(self, name: str, selects: Sequence[str]) -> None:
        found = [select for select in selects if select]
        if not found:  # nothing was recorded of it yet
            columns = ", ".join(
                column if " AS " in column else _JSON.format(column)
                for column in (_VIEWS[name][2] if name in _VIEWS else ())
            )
            empty = (
                "SELECT NULL::VARCHAR AS journal, NULL::VARCHAR AS domain, NULL::BIGINT AS position, "
                f"NULL::TIMESTAMP_NS AS time{', ' + columns if columns else ''} "
                "FROM (SELECT NULL::JSON AS line) WHERE false"
            )
            found = [empty]
        self._connection.execute(f"CREATE VIEW {name} AS {' UNION ALL BY NAME '.join(found)}")

    # ------------------------------------------------------------------ what a journal consists of

    def _parts(self, name: str) -> dict[str, list[str]]:
        """Tables of the journal, by the name of the file: packed ones first, then those in memory."""
        found: dict[str, list[str]] = {"records": [], "values": []}
        columns = self._columns[name] = set()
        packs = Packs(self._journals.storage, name).all()
        for part, tables_of in found.items():
            paths = [self._path(pack.files[part].name) for pack in packs if part in pack.files]
            if paths:
                listed = ", ".join(map(_text, paths))
                tables_of.append(f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)")
                if part == "values":
                    names = f"SELECT DISTINCT name FROM parquet_schema([{listed}]) WHERE num_children IS NULL"
                    columns.update(row[0] for row in self._connection.execute(names).fetchall())
        # What is packed from now on is still read as what it was.
        for tables in tail(self._journals.open(name), packs[-1].last if packs else 0):
            for part, table in tables.items():
                found[part].append(self._kept(table))
                if part == "values":
                    columns.update(table.column_names)
        return found

    def _kept(self, table: Any) -> str:
        """A table of what is not packed, by its name: in memory, or on the disk where it is much."""
        self._registered += 1
        self._held += table.nbytes
        label = f"tail_{self._registered}"
        if self._held <= _HELD_BYTES:
            self._connection.register(label, table)
            return label
        from pyarrow.parquet import write_table

        path = self._folder / f"{label}.parquet"
        write_table(table, path)
        return f"read_parquet({_text(str(path))})"

    def _path(self, name: str) -> str:
        storage = self._journals.storage
        if isinstance(storage, LocalStorage):
            path = storage.root / name
            if not path.is_file():
                raise NotFound("archive", name)
            return str(path)
        path = self._folder / name.replace("/", "~")
        path.write_bytes(storage.archives.get(name))
        return str(path)

    # ------------------------------------------------------------------ selects

    def _collections(self, name: str, parts: Mapping[str, list[str]]) -> str:
        if not parts["records"]:
            return ""
        place, records = self._place(name), self._union(parts["records"])
        return (
            f"SELECT {place}, source, make_timestamp_ns(event_ns) AS event_time, status, error, "
            f"quality::JSON AS quality, origin::JSON AS origin FROM {records} WHERE line IS NULL "
            f"UNION ALL BY NAME SELECT {place}, {_LINE_EVENT}, line->>'$.status' AS status, "
            f"line->>'$.error' AS error, line->'$.quality' AS quality, line->'$.origin' AS origin "
            f"FROM {_as_lines(records)}"
        )

    def _snapshots(self, name: str, parts: Mapping[str, list[str]]) -> str:
        if not parts["values"]:
            return ""
        place, records, values = self._place(name), *map(self._union, (parts["records"], parts["values"]))
        # Those that columns cannot hold, which are few or, where a field has such a name, all of them.
        lines = _as_lines(records)
        keys = f"SELECT DISTINCT unnest(json_keys(line, '$.fields')) FROM {lines}"
        named = sorted(row[0] for row in self._connection.execute(keys).fetchall() if row[0])
        refused = _refused(name.partition(".")[2], {*map(_base, self._columns[name] - _PLACES), *named})
        if refused is not None:
            return (
                f"SELECT {place}, source, make_timestamp_ns(event_ns) AS event_time, NULL AS subject "
                f"FROM {records} WHERE error({_text(refused)}) IS NULL"
            )
        present = [row[0] for row in self._connection.execute(f"DESCRIBE SELECT * FROM {values}").fetchall()]
        fields = sorted(
            {_base(column) for column in present} - {*_PLACES, ""}  # SQL has no word for the last
        )
        columns = "".join(f", {_field(field, present)} AS {_name(_label(field))}" for field in fields)
        select = (
            f"SELECT {place}, source, make_timestamp_ns(event_ns) AS event_time, "
            f"subject{columns} FROM {records} JOIN {values} USING (position)"
        )
        if not named:
            return select
        columns = "".join(f", fields[{_text(field)}][place] AS {_name(_label(field))}" for field in named)
        return (
            f"{select} UNION ALL BY NAME SELECT {place}, source, event_time, subject{columns} FROM "
            f"(SELECT position, time_ns, {_LINE_EVENT}, unnest((line->'$.subjects')::VARCHAR[]) AS subject, "
            "generate_subscripts((line->'$.subjects')::VARCHAR[], 1) AS place, "
            f"(line->'$.fields')::MAP(VARCHAR, DOUBLE[]) AS fields FROM {lines})"
        )

    def _lines(self, name: str, parts: Sequence[str], kind: str, columns: Sequence[str]) -> str:
        if not parts:
            return ""
        wanted = ", ".join(column if " AS " in column else _JSON.format(column) for column in columns)
        return (
            f"SELECT {self._place(name)}, {wanted} FROM (SELECT kind, position, time_ns, line::JSON AS line "
            f"FROM {self._union(parts)}) WHERE kind = {_text(kind)}"
        )

    def _place(self, name: str) -> str:
        domain = self._journals.domain_of(name) or ""
        return (
            f"{_text(name)} AS journal, {_text(domain)} AS domain, position, "
            "make_timestamp_ns(time_ns) AS time"
        )

    def _union(self, parts: Sequence[str]) -> str:
        return "(" + " UNION ALL BY NAME ".join(f"SELECT * FROM {part}" for part in parts) + ")"


_LINE_EVENT: Final = (
    "line->>'$.source' AS source, make_timestamp_ns((line->>'$.event_ns')::BIGINT) AS event_time"
)


def _as_lines(records: str) -> str:
    """The snapshots that are kept as lines."""
    return (
        f"(SELECT * FROM (SELECT position, time_ns, decode(line)::JSON AS line FROM {records} "
        "WHERE line IS NOT NULL) WHERE line->>'$.kind' = 'snapshot')"
    )


def _refused(source: str, fields: set[str]) -> str | None:
    """Why fields cannot be columns of one table, which would mix them up; None where they can."""
    found: dict[str, str] = {}
    for field in sorted(fields):
        other = found.setdefault(field.lower(), field)
        rename = "which SQL cannot tell apart: give one another name where it is collected"
        if other != field:
            return f"source {source} has fields {other!r} and {field!r}, {rename}"
        if field.lower() in _PLACES and field not in _PLACES:
            return f"source {source} has a field {field!r} beside the column {field.lower()!r}, {rename}"
    return None


def _base(column: str) -> str:
    """The field that a column of values holds, or a part of it."""
    return column.removesuffix(".mantissa").removesuffix(".scale")


def _label(field: str) -> str:
    """What a field is called in `snapshots`, where some names have another meaning."""
    return f"{field}_value" if field.lower() in _OWN else field


def _field(name: str, present: Sequence[str]) -> str:
    """The double that was recorded."""
    whole = _name(name) if name in present else "NULL"
    if f"{name}.mantissa" not in present:
        return whole
    mantissa, scale = _name(f"{name}.mantissa"), _name(f"{name}.scale")
    powers = " ".join(f"WHEN {power} THEN 1e{power}" for power in range(16))
    return f"coalesce({whole}, {mantissa}::DOUBLE / (CASE {scale} {powers} END))"


def _name(text: str) -> str:
    escaped = text.replace('"', '""')
    return f'"{escaped}"'


def _text(value: str) -> str:
    escaped = value.replace("'", "''")
    return f"'{escaped}'"
