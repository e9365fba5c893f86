"""Feedback: was a pattern, or what follows from it, right?"""

from __future__ import annotations

from observer_core.runtime.acts.ground import Asked, By
from observer_core.runtime.study.feedback import judged
from observer_core.shared.clock import Clock
from observer_core.shared.ids import parse_ref
from observer_core.storage.journals import Journals
from observer_core.storage.once import Once


def judge(
    journals: Journals, clock: Clock, ref: str, right: bool, by: By, note: str | None = None,
    once: Once | None = None,
) -> Asked:  # fmt: skip
    """Records the word of `by` (who gives no reason but the note); it counts as soon as it is recorded."""
    found = judged(
        journals, clock, ref, right=right, author=by.author, note=note, principal=by.principal, once=once
    )
    domain = parse_ref(found.ref)[0].partition(".")[2]
    word = "right" if right else "wrong"
    return Asked(ref=found.ref, text=f"{', '.join(found.patterns)}  {word}, says {by.author}", domain=domain)
