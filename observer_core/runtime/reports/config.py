"""`[reports]`: which reports are written by themselves, when, where to, and in which language."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from observer_core.shared.config import Config, Name, Zone

Lang = Literal["ko", "en"]
Form = Literal["html", "md"]
TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class ReportsConfig(Config):
    """`daily`, `weekly`: from this time of day in `zone` on (of the week's report on Monday) the report of
    the day or week before is written, if its file is not there; without them none is, by itself.

    A day is that of `zone`, and so is every time in a report. `to`: a folder, from the root; it is made.
    `domains`: of these (default: `live`). `cases`: files of `[[case]]` tables, which the control report runs
    on the policies in force.
    """

    zone: Zone = "UTC"
    lang: Lang = "en"
    daily: TimeOfDay | None = None
    weekly: TimeOfDay | None = None
    to: Path = Path("reports")
    forms: Annotated[tuple[Form, ...], Field(min_length=1)] = ("html",)
    domains: Annotated[tuple[Name, ...], Field(min_length=1)] = ("live",)
    cases: tuple[Path, ...] = ()
