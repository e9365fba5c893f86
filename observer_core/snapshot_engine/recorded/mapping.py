"""Which columns of a recording mean what."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from observer_core.shared.config import Config, DurationNs, Zone

MAX_COLUMNS = 4096
MAX_SUBJECTS = 100_000


class RecordingConfig(Config):
    """How to read a recording. Its identity is part of what makes a row the same row.

    `zone` is what naive times are in. Rows belong to the subject named in the column
    `subject`, or all to `subject_name`, which is the source's name unless given.
    `fields` are the number columns to take (default: those whose first cell is a
    number). With `bar`, a row stamped at its `open` is knowable at stamp + bar, one
    stamped at its `close` at its stamp.
    """

    time: str = "time"
    zone: Zone | None = None
    subject: str | None = None
    subject_name: str | None = None
    fields: tuple[str, ...] | None = None
    bar: DurationNs | None = Field(default=None, gt=0)
    stamp: Literal["open", "close"] = "open"
    delimiter: str = Field(default=",", min_length=1, max_length=1)

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        if self.subject is not None and self.subject_name is not None:
            raise ValueError("subject (a column) and subject_name (one name for all rows) exclude each other")
        if self.subject == self.time:
            raise ValueError(f"subject and time both name the column {self.time!r}")
        if self.fields is not None:
            if not self.fields:
                raise ValueError("fields names no column; leave it out to take all number columns")
            if len(set(self.fields)) != len(self.fields):
                raise ValueError("fields names a column twice")
            if taken := {self.time, self.subject}.intersection(self.fields):
                raise ValueError(f"fields names {taken.pop()!r}, which is the time or subject column")
        return self

    @property
    def delay_ns(self) -> int:
        """How long after its stamp a row was knowable."""
        return self.bar if self.bar is not None and self.stamp == "open" else 0
