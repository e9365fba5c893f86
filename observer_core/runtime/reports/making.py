"""Makes a report: figures, told in a language, in a form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from observer_core.runtime.reports import control as controls
from observer_core.runtime.reports.config import Form, Lang
from observer_core.runtime.reports.document import Document
from observer_core.runtime.reports.facts import Ground, gather, plain
from observer_core.runtime.reports.html import html
from observer_core.runtime.reports.markdown import markdown
from observer_core.runtime.reports.period import DAY_NS, Kind, Period, stretch
from observer_core.runtime.reports.telling import controls as telling_controls
from observer_core.runtime.reports.telling import daily
from observer_core.runtime.reports.words import Words
from observer_core.shared.records import Json

FORMS: Final[dict[Form, Callable[[Document], str]]] = {"html": html, "md": markdown}
WINDOW_NS: Final = 30 * DAY_NS
"""What the control report looks at unless it is told otherwise."""


@dataclass(frozen=True, slots=True)
class Report:
    """Figures that can be told in any language and form."""

    kind: Kind
    domain: str
    period: Period
    facts: Any

    def text(self, form: Form, lang: Lang, made_ns: int | None = None) -> str:
        """The file. `made_ns`: when it was made, if it is to say so; else equal records give equal bytes."""
        words = Words(lang, self.period.zone)
        if self.kind == "control":
            return FORMS[form](telling_controls.document(self.facts, words, made_ns))
        return FORMS[form](daily.document(self.facts, words, made_ns))

    def to_json(self) -> Json:
        """The figures alone."""
        if isinstance(self.facts, controls.ControlFacts):
            return self.facts.to_json()
        found: Json = plain(self.facts)
        return found


def report(ground: Ground, kind: Kind, *, domain: str | None = None, date: str | None = None) -> Report:
    """Of a day or a week; `InputError` for a domain or a period that there are no records of."""
    name = ground.domain(domain)
    found = ground.period(kind, name, date)
    return Report(kind, name, found, gather(ground, name, found))


def control_report(ground: Ground, *, domain: str | None = None, since_ns: int | None = None) -> Report:
    """From `since_ns` (default: 30 days before the domain's present, or its first record) up to that."""
    name = ground.domain(domain)
    now_ns = ground.now_ns(name)
    began_ns = ground.began_ns(name)
    start_ns = max(began_ns, now_ns - WINDOW_NS) if since_ns is None else since_ns
    found = stretch(
        ground.settings.reports.zone, min(start_ns, now_ns - 1) if since_ns is None else start_ns, now_ns
    )
    return Report("control", name, found, controls.control(ground, name, found))
