"""POST /v1/snapshots/{source}: observations that somebody sends, committed before they are acknowledged."""

from __future__ import annotations

import asyncio
import hashlib
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request

from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import PushSourceConfig
from observer_core.shared.errors import Conflict
from observer_core.snapshot_engine.sources.push import CONTENT_TYPES, MAX_BODY_BYTES, parse_push
from observer_core.storage.journal import Journal
from observer_core.storage.ports import Op
from observer_core.web.problems import Problem

_READ_SECONDS: Final = 30.0
_GZIP_MEMBER: Final = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Push:
    """One request, read in full and not yet looked into."""

    source: PushSourceConfig
    body: bytes
    content_type: str
    gzip: bool
    key: str | None


class PushDoor:
    """Takes pushes: all of one or nothing; with an idempotency key, each only once.

    `hint` is called with the source's name after a commit: there is something to work.
    """

    def __init__(self, observer: Observer, metrics: Metrics, hint: Callable[[str], None] | None) -> None:
        self._observer = observer
        self._metrics = metrics
        self._hint = hint
        self._sources = {
            item.name: item for item in observer.settings.source if isinstance(item, PushSourceConfig)
        }

    async def read(self, request: Request) -> Push:
        """The request, its body bounded while it is read; `Problem` when it cannot be one."""
        name = request.path_params["source"]
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
        return Push(self._sources[name], body, content_type, encoding == "gzip", key)

    def take(self, push: Push) -> dict[str, Any]:
        """Commits it and says where it stands; what was committed under its key before is only said."""
        started = time.perf_counter()
        name, now_ns = push.source.name, self._observer.clock.now_ns()
        body = _unpacked(push.body) if push.gzip else push.body
        digest = hashlib.sha256(body).hexdigest()
        journal = self._observer.journals.open(f"snapshots.{name}")
        known = journal.idempotency(push.key) if push.key is not None else None
        if known is None:
            snapshots = parse_push(name, body, push.content_type, now_ns)
            result = {"snapshots": len(snapshots), "body": digest, "time_ns": now_ns}

            def once(position: int) -> Sequence[Op]:
                result["position"] = position
                return [] if push.key is None else [Journal.idempotency_op(push.key, result)]

            writer = self._observer.writer(name, push.source.domain, "live", now_ns)
            try:
                writer.write(snapshots, extra=once)
            except Conflict as conflict:
                known = journal.idempotency(push.key) if push.key is not None else None
                if known is None:
                    raise conflict from None
        if known is not None:
            if known["body"] != digest:
                raise Problem(422, "this Idempotency-Key was used with another body; give each batch its own")
            return _said(name, known, duplicate=True)
        values = sum(column.size for snapshot in snapshots for column in snapshot.fields.values())
        seconds = time.perf_counter() - started
        self._metrics.tick(name, "ok", values, seconds, snapshots=len(snapshots))
        if self._hint is not None:
            self._hint(name)
        return _said(name, result, duplicate=False)


def _said(source: str, result: dict[str, Any], *, duplicate: bool) -> dict[str, Any]:
    return {
        "source": source, "position": result["position"], "snapshots": result["snapshots"],
        "duplicate": duplicate,
    }  # fmt: skip


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
    while packed:
        member = zlib.decompressobj(_GZIP_MEMBER)
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
