"""What was given up on or set aside, and how it comes back: dead letters and quarantined entries."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import dropwhile, islice
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from observer_core.automation.dead_letters import DeadLetters, Letter
from observer_core.runtime.acts import letters as acts
from observer_core.runtime.acts import quarantine
from observer_core.runtime.acts.ground import Asked, Unknown
from observer_core.runtime.reading.listing import opened, sealed
from observer_core.shared.errors import InputError, JournalError, NotFound
from observer_core.shared.ids import parse_ref, ref
from observer_core.shared.records import Json
from observer_core.storage.journals import Journals
from observer_core.web.access import needs
from observer_core.web.api import models
from observer_core.web.api.acting import ACCEPTED, Acting, Key, by, named
from observer_core.web.api.context import Context, answer
from observer_core.web.problems import Problem

MOST_RECORDS: Final = 20_000
"""As many records of letters are looked at; the command line lists all there ever were."""
SHOWN: Final = 500
_OPERATE, _READ = Depends(needs("operate")), Depends(needs("read"))

State = Annotated[Literal["buried", "redriven", "dropped"] | None, Query(description="left out: all of them")]
Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str | None, Query(max_length=300, description="`next` of the page before")]
Identity = Annotated[
    str, Path(min_length=1, max_length=64, description="of the letter; the first characters will do")
]


def router(context: Context) -> APIRouter:
    """/v1/dead-letters and /v1/quarantine."""
    acting = Acting(context, "redrives")  # a slow subscriber holds up no other act
    routes = acting.router("acts")
    observer, journals = context.observer, context.journals
    letters = DeadLetters(journals, observer.storage.queues, observer.clock)

    @routes.get(
        "/v1/dead-letters", response_model=models.Page[models.DeadLetter],
        dependencies=[_READ],
    )  # fmt: skip
    async def dead_letters(state: State = None, limit: Limit = 100, cursor: Cursor = None) -> Response:
        """What the Functions app, or a delivery, gave up on.

        Newest first, of a bounded number of records.
        """
        return answer(await context.search(partial(_letters, letters, state, limit, cursor)))

    @routes.post(
        "/v1/dead-letters/{identity}/redrive", status_code=202, response_model=models.Asked,
        responses=ACCEPTED, dependencies=[_OPERATE],
    )  # fmt: skip
    async def redrive(request: Request, identity: Identity, act: models.Act, key: Key = None) -> Response:
        """Send a letter again.

        To its queue, or to its subscriber: sent, then recorded. Sending too often repeats nothing.
        """
        who, once = by(request, act.author, act.reason), acting.once(request, act, key)

        def work() -> Asked:
            letter = _letter(letters, identity)
            return acts.redrive(letters, letter, who, partial(acts.resend, observer), once)

        return await named(acting.ask(work))

    @routes.post(
        "/v1/dead-letters/{identity}/drop", status_code=202, response_model=models.Asked,
        responses=ACCEPTED, dependencies=[_OPERATE],
    )  # fmt: skip
    async def drop(request: Request, identity: Identity, act: models.Act, key: Key = None) -> Response:
        """Record that a letter needs no answer.

        Nothing is deleted.
        """
        who, once = by(request, act.author, act.reason), acting.once(request, act, key)

        def work() -> Asked:
            return acts.drop(letters, _letter(letters, identity), who, once)

        return await named(acting.ask(work))

    @routes.get(
        "/v1/quarantine", response_model=models.Page[models.Quarantined],
        dependencies=[_READ],
    )  # fmt: skip
    async def quarantined(limit: Limit = 100, cursor: Cursor = None) -> Response:
        """What stages could not work on.

        By journal. What they concern is closed until they are redriven.
        """
        return answer(await context.search(partial(_quarantined, journals, limit, cursor)))

    @routes.post(
        "/v1/quarantine/redrive", status_code=202, response_model=models.Asked, responses=ACCEPTED,
        dependencies=[_OPERATE],
    )  # fmt: skip
    async def again(request: Request, act: models.QuarantineAct, key: Key = None) -> Response:
        """Give an entry to its stage again.

        At a new position; its quarantine ends.
        """
        try:
            name, position = parse_ref(act.ref)
        except ValueError as error:
            raise Problem(400, f"ref: {error}") from None
        who, once = by(request, act.author, act.reason), acting.once(request, act, key)
        work = partial(quarantine.redrive, journals, act.journal, name, position, who, once)
        return await acting.ask(work, journal=act.journal)

    return routes


def _letter(letters: DeadLetters, identity: str) -> Letter:
    try:
        return letters.letter(identity)
    except InputError as error:
        raise Unknown(str(error)) from None


def _letters(letters: DeadLetters, state: str | None, limit: int, cursor: str | None) -> Json:
    known = letters.newest(MOST_RECORDS)
    if cursor is not None:
        last = opened(cursor)
        known = list(islice(dropwhile(lambda item: item.id != last, known), 1, None))
    found = [item for item in known if state in (None, item.state)]
    return {
        "items": [
            {
                "id": item.id, "buried_ns": item.buried_ns, "queue": item.queue, "state": item.state,
                "dequeue_count": item.dequeue_count, "text": acts.text_of(item)[:SHOWN],
            }
            for item in found[:limit]
        ],
        "next": sealed(found[limit - 1].id) if limit < len(found) else None,
    }  # fmt: skip


def _quarantined(journals: Journals, limit: int, cursor: str | None) -> Json:
    found = sorted(islice(quarantine.listed(journals), MOST_RECORDS), key=_name)
    after = "" if cursor is None else opened(cursor)
    found = [item for item in found if _name(item) > after]
    return {
        "items": list(_shown(journals, found[:limit])),
        "next": sealed(_name(found[limit - 1])) if limit < len(found) else None,
    }


def _shown(journals: Journals, page: list[dict[str, Any]]) -> Iterator[Json]:
    for item in page:
        name, position = item["input"], item["position"]
        try:
            time_ns = journals.open(name).entry(position).time_ns
        except (JournalError, NotFound):
            time_ns = None
        yield {
            "journal": item["journal"], "ref": ref(name, position), "scopes": item["scopes"],
            "error": item["error"], "time_ns": time_ns,
        }  # fmt: skip


def _name(item: Json) -> str:
    return f"{item['journal']} {item['input']}@{item['position']:020d}"
