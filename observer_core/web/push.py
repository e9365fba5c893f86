"""POST /v1/snapshots/{source}: observations that somebody sends, committed before they are acknowledged."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import APIRouter, Depends, Header, Path, Query
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from observer_core.logs.redaction import without_paths
from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Observer
from observer_core.runtime.pushing import Batch, KeyReused, Pushes
from observer_core.runtime.source_kinds import PushSourceConfig
from observer_core.snapshot_engine.sources.push import CONTENT_TYPES, MAX_BODY_BYTES, PushError, Rejected
from observer_core.web.access import needs
from observer_core.web.api import models
from observer_core.web.openapi import body_of
from observer_core.web.problems import Problem, problem

LARGE_BYTES: Final = 256 * 1024
"""A larger body is put off where that is possible: its sender need not wait for the commit."""
_TOGETHER: Final = 2
_MAX_LISTED: Final = 100
_READ_SECONDS: Final = 30.0
_GZIP_MEMBER: Final = 16 + zlib.MAX_WBITS
_GZIP_MEMBERS: Final = 100


_Key = Annotated[
    str | None,
    Header(
        description="what is sent again under it is taken once",
        json_schema_extra={"minLength": 1, "maxLength": 255},
    ),
]
_Coding = Annotated[str | None, Header(description="`gzip`, or none")]
_Atomic = Annotated[
    Literal["true", "false"], Query(description="`true`: one row that cannot be used refuses all of them")
]


def router(door: PushDoor) -> APIRouter:
    """/v1/snapshots/{source}."""
    routes = APIRouter(tags=["push"])

    @routes.post(
        "/v1/snapshots/{source}", status_code=202, response_model=models.Pushed,
        dependencies=[Depends(needs("push"))],
        openapi_extra=body_of(models.PushColumns, models.PushRow, lists=True, lines=True),
        responses={
            207: {"model": models.PushProblem, "description": "Rows that cannot be used were left out."},
            400: {"model": models.PushProblem, "description": "Nothing was taken."},
            422: {"model": models.ProblemDetails, "description": "The key was used with another body."},
        },
    )  # fmt: skip
    async def push(
        request: Request, source: Annotated[str, Path(description="one of kind push")],
        atomic: _Atomic = "false", idempotency_key: _Key = None, content_encoding: _Coding = None,
    ) -> Response:  # fmt: skip
        """Observations for a source, committed before they are acknowledged.

        JSON (a row, columns, or a list of them) or NDJSON (one of them a line); at most 8 MiB, unpacked.
        """
        return await door.answer(request, source, atomic == "true")

    return routes


@dataclass(frozen=True, slots=True)
class Push:
    """One request, read in full and not yet looked into."""

    source: PushSourceConfig
    body: bytes
    content_type: str
    gzip: bool
    key: str | None
    atomic: bool
    """Whether one row that cannot be used refuses all of them."""


class PushDoor:
    """Takes pushes: every row that can be used, or none where all were asked for; each key only once.

    `hint` is called with the source's name after a commit: there is something to work. With
    `put_off`, bodies over `LARGE_BYTES` are kept as a blob, whose name it is called with.
    """

    def __init__(
        self, observer: Observer, metrics: Metrics, hint: Callable[[str], None] | None,
        put_off: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        self._observer = observer
        self._metrics = metrics
        self._hint, self._put_off = hint, put_off
        self._pushes = Pushes(observer)
        self._sources = self._pushes.sources
        self._threads = ThreadPoolExecutor(_TOGETHER, "push")
        # Bodies are held in memory from the first byte to the commit: only so many at a time.
        self._bodies = asyncio.Semaphore(2 * _TOGETHER)

    def close(self) -> None:
        """Takes no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def answer(self, request: Request, source: str, atomic: bool) -> Response:
        async with self._bodies:
            push = await self._read(request, source, atomic)
            taken_with = copy_context()  # what is recorded follows from this request
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, taken_with.run, self._take, push
            )

    async def _read(self, request: Request, name: str, atomic: bool) -> Push:
        """The request, its body bounded while it is read; `Problem` when it cannot be one."""
        if name not in self._sources:
            known = ", ".join(sorted(self._sources)) or "none"
            raise Problem(404, f"no source {name!r} of kind push is configured; there are: {known}")
        content_type = request.headers.get("content-type", "")
        if content_type.partition(";")[0].strip().lower() not in CONTENT_TYPES:
            raise Problem(
                415,
                f"content type {content_type[:100]!r} is not taken; expected {', '.join(CONTENT_TYPES)}",
                {"Accept": ", ".join(CONTENT_TYPES)},
            )  # fmt: skip
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("gzip", "identity"):
            raise Problem(
                415, f"content encoding {encoding[:100]!r} is not taken; expected gzip or none",
                {"Accept-Encoding": "gzip"},
            )  # fmt: skip
        key = request.headers.get("idempotency-key")
        if key is not None and not (0 < len(key) <= 255 and key.isprintable()):
            raise Problem(
                400, f"Idempotency-Key has {len(key)} characters; 1 to 255 that can be shown were expected"
            )
        try:
            async with asyncio.timeout(_READ_SECONDS):
                body = await _body(request)
        except TimeoutError:
            raise Problem(408, f"the body did not arrive within {_READ_SECONDS:.0f} s") from None
        except ClientDisconnect:
            raise Problem(400, "the connection ended before the body did") from None
        return Push(self._sources[name], body, content_type, encoding == "gzip", key, atomic)

    def _take(self, push: Push) -> Response:
        """Commits it and says where it stands, and which rows were not taken."""
        started = time.perf_counter()
        name = push.source.name
        body = _unpacked(push.body) if push.gzip else push.body
        batch = Batch(name, body, push.content_type, push.key, self._observer.clock.now_ns())
        try:
            pushed = self._pushes.parse(batch)
        except PushError as error:
            raise Problem(400, str(error), rejected=_listed(error.rejected)) from None
        if pushed.rejected and push.atomic:
            detail = f"rows cannot be used ({len(pushed.rejected)}); nothing was taken, as atomic=true asks"
            raise Problem(400, detail, rejected=_listed(pushed.rejected))
        try:
            if self._put_off is not None and len(body) > LARGE_BYTES and self._pushes.known(batch) is None:
                self._put_off(self._pushes.keep(batch))
                return _answer(name, {"snapshots": len(pushed.snapshots), "kept": True}, pushed.rejected)
            taken = self._pushes.commit(batch, pushed.snapshots)
        except KeyReused as error:
            raise Problem(422, str(error)) from None
        if not taken.duplicate:
            self._metrics.stage("push", time.perf_counter() - started)
            if self._hint is not None:
                self._hint(name)
        said = {"position": taken.position, "snapshots": taken.snapshots, "duplicate": taken.duplicate}
        return _answer(name, said, pushed.rejected)


def _answer(source: str, said: Mapping[str, Any], rejected: Sequence[Rejected]) -> Response:
    """202; 207 with a problem's details when some rows were not taken."""
    if not rejected:
        return Response(orjson.dumps({"source": source, **said}), 202, media_type="application/json")
    detail = f"rows that cannot be used were left out ({len(rejected)}); all others were taken"
    return problem(207, detail, source=source, **said, rejected=_listed(rejected))


def _listed(rejected: Sequence[Rejected]) -> list[dict[str, Any]]:
    return [{"row": row, "detail": without_paths(detail)} for row, detail in rejected[:_MAX_LISTED]]


async def _body(request: Request) -> bytes:
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > MAX_BODY_BYTES:
        raise _too_large()
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
    return bytes(body)


def _unpacked(packed: bytes) -> bytes:
    body = bytearray()
    members = 0
    while packed:
        member = zlib.decompressobj(_GZIP_MEMBER)
        members += 1
        if members > _GZIP_MEMBERS:  # each of them costs a copy of all that follow
            raise Problem(400, f"the gzip body has more than {_GZIP_MEMBERS} members; send one")
        try:
            body += member.decompress(packed, MAX_BODY_BYTES + 1 - len(body))
        except zlib.error as error:
            raise Problem(400, f"the body is not gzip as its Content-Encoding says: {error}") from None
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
        if not member.eof:
            raise Problem(400, "the gzip body ends too early; send it whole")
        packed = member.unused_data
    return bytes(body)


def _too_large() -> Problem:
    return Problem(413, f"more than {MAX_BODY_BYTES:,} bytes (unpacked); send it in smaller parts")
