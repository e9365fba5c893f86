"""A request that is done once, however often it is sent: under its key, for a day.

The key stands in a row of the journal that the request is recorded in, and in the same transaction,
so there is no moment in which one of them is known and the other is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from observer_core.shared.clock import SECOND
from observer_core.shared.errors import InputError
from observer_core.shared.ids import derive
from observer_core.shared.records import Json
from observer_core.storage.journal import Journal
from observer_core.storage.ports import Op

DAY_NS: Final = 86_400 * SECOND


class KeyReused(InputError):
    """An idempotency key that was used with another body."""


@dataclass(frozen=True, slots=True)
class Once:
    """The key that somebody (`who`) has given a request of this `body` (its digest) at `now_ns`."""

    who: str
    key: str
    body: str
    now_ns: int

    def known(self, journal: Journal) -> Json | None:
        """What was said to the same request within a day; `KeyReused` when that was another one."""
        found: Json | None = journal.idempotency(self._name)
        if found is None or self.now_ns - found["time_ns"] >= DAY_NS:
            return None
        if found["body"] != self.body:
            raise KeyReused("this Idempotency-Key was used with another body; give each request its own")
        said: Json = found["said"]
        return said

    def op(self, said: Json, position: int) -> Op:
        """What is said from now on. Only for a commit on the head that was read before `known` was asked.

        `position`: of the last record of that commit. A journal that is cut before it forgets the key.
        """
        value = {"body": self.body, "time_ns": self.now_ns, "said": said, "position": position}
        return Journal.idempotency_op(self._name, value)._replace(action="upsert")

    @property
    def _name(self) -> str:
        return derive("once", self.who, self.key)
