"""Storage that fails at a chosen step: everything that writes is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from observer_core.storage.ports import Blobs, Op, Storage

When = Literal["before", "torn", "after"]


class Crash(BaseException):
    """The process is gone: nothing may catch it, nothing runs after it."""


class FaultyStorage:
    """`inner`, which at step `at` raises `error` before the step, half way (appends only), or after it.

    `steps` names each step that was begun, so an undisturbed run says which there are.
    """

    def __init__(
        self,
        inner: Storage,
        *,
        at: int = 0,
        when: When = "before",
        error: Callable[[], BaseException] = Crash,
    ) -> None:
        self._inner = inner
        self._at, self._when, self._error = at, when, error
        self.steps: list[str] = []
        self.segments = _Segments(self)
        self.blobs = _Blobs(self, inner.blobs)
        self.archives = _Blobs(self, inner.archives)
        self.tables = _Tables(self)
        self.queues = inner.queues
        self.volatile = inner.volatile

    @contextmanager
    def group(self) -> Iterator[None]:
        with self._inner.group():
            yield
            self.step("group", lambda: None)
        self.step("grouped", lambda: None)

    def settle(self) -> None:
        self.step("settle", self._inner.settle)

    def checkpoint(self) -> None:
        self.step("checkpoint", self._inner.checkpoint)

    def close(self) -> None:
        self._inner.close()

    def disarm(self) -> None:
        self._at = 0

    def step(self, name: str, act: Callable[[], Any], half: Callable[[], Any] | None = None) -> Any:
        self.steps.append(name)
        if len(self.steps) != self._at:
            return act()
        if self._when == "after":
            act()
        elif self._when == "torn" and half is not None:
            half()
        raise self._error()


class Between(FaultyStorage):
    """At each step that writes, lets somebody else act first: `act` gets the step's number."""

    def __init__(self, inner: Storage, act: Callable[[int], object]) -> None:
        super().__init__(inner)
        self._act, self._inside = act, False

    def step(self, name: str, act: Callable[[], Any], half: Callable[[], Any] | None = None) -> Any:
        if not self._inside:
            self._inside = True
            self._act(len(self.steps))
            self._inside = False
        return super().step(name, act, half)


class _Segments:
    def __init__(self, storage: FaultyStorage) -> None:
        self._storage, self._inner = storage, storage._inner.segments

    def append(self, name: str, data: bytes) -> int:
        offset: int = self._storage.step(
            "append",
            lambda: self._inner.append(name, data),
            lambda: self._inner.append(name, data[: len(data) // 2]),
        )
        return offset

    def sync(self, also: Iterable[str] = ()) -> None:
        self._storage.step("sync", lambda: self._inner.sync(also))

    def delete(self, name: str) -> None:
        self._storage.step("delete", lambda: self._inner.delete(name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Blobs:
    def __init__(self, storage: FaultyStorage, inner: Blobs) -> None:
        self._storage, self._inner = storage, inner

    def put(self, name: str, data: bytes) -> None:
        self._storage.step("blob", lambda: self._inner.put(name, data))

    def delete(self, name: str) -> None:
        self._storage.step("delete", lambda: self._inner.delete(name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Tables:
    def __init__(self, storage: FaultyStorage) -> None:
        self._storage, self._inner = storage, storage._inner.tables

    def commit(self, partition: str, ops: Sequence[Op]) -> list[str]:
        etags: list[str] = self._storage.step("commit", lambda: self._inner.commit(partition, ops))
        return etags

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def variants(steps: Sequence[str]) -> list[tuple[int, When]]:
    """Every way to stop a run that has these steps."""
    return [
        (number, when)
        for number, step in enumerate(steps, 1)
        for when in (("before", "torn", "after") if step == "append" else ("before", "after"))
    ]
