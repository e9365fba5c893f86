"""An address that is asked again and again: its headers, its ETag, and how long it wants to be left alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Final
from urllib.parse import urljoin, urlsplit

from pydantic import Field, PositiveInt, StringConstraints

from observer_core import __version__
from observer_core.safety.outbound import Answer, Target
from observer_core.safety.pace import Pace
from observer_core.shared.clock import SECOND, format_time
from observer_core.shared.config import Config, DurationNs
from observer_core.shared.errors import InputError

_LONGEST_WAIT_NS: Final = 300 * SECOND


class Header(Config):
    """A header whose value is a secret: `env` names where the environment holds it."""

    env: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")]
    prefix: str = ""
    """Stands before the secret: `"Bearer "`, say."""


class AddressConfig(Config):
    """Where to ask, how often, and within which bounds."""

    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+\S*$")]
    headers: Mapping[str, str | Header] = {}
    interval: Annotated[DurationNs, Field(gt=0)] = 60 * SECOND
    timeout: Annotated[DurationNs, Field(gt=0)] = 5 * SECOND
    max_bytes: PositiveInt = 8 * 1024 * 1024
    max_rate: Annotated[float, Field(gt=0, le=1000)] = 10.0
    """Requests a second, pages included; sources of one host share the least of theirs."""
    allow_private: bool = False
    """Whether `url` may resolve to a loopback or private address."""


class WebAddress:
    """Only an answer 2xx is one. Secrets stand in headers alone and appear in no error."""

    def __init__(
        self, name: str, config: AddressConfig, secret: Callable[[str], str], pace: Pace | None = None
    ) -> None:
        self._name, self._config = name, config
        self._pace = pace or Pace(config.max_rate)
        self._target = self._parse(config.url)
        self._headers = {"User-Agent": f"qts-observer/{__version__}", "Connection": "close"}
        for header, value in config.headers.items():
            text = value if isinstance(value, str) else value.prefix + secret(value.env)
            self._headers[header] = text
        self._etag: str | None = None
        self._not_before_ns = 0

    def ask(self, method: str, now_ns: int, body: bytes | None = None) -> Answer | None:
        """The answer; None when it is the same as the one that was `kept` last (`304 Not Modified`)."""
        if now_ns < self._not_before_ns:
            raise InputError(
                f"{self._target} asked to be left alone until {format_time(self._not_before_ns)}"
            )
        headers = {**self._headers, **({"If-None-Match": self._etag} if self._etag else {})}
        self._pace.wait()
        answer = self._target.ask(method, headers, body, max_bytes=self._config.max_bytes)
        if answer.status == 304 and self._etag:
            return None
        self._judge(answer, now_ns)
        return answer

    def keep(self, answer: Answer) -> None:
        """The caller could use this answer, and need not have it again while it does not change."""
        self._etag = answer.headers.get("etag")

    def follow(self, where: str, now_ns: int) -> Answer:
        """The next page; on the same host, for the headers are meant for that one."""
        url = urljoin(self._config.url, where)
        here, there = urlsplit(self._config.url), urlsplit(url)
        if (there.scheme, there.netloc) != (here.scheme, here.netloc):
            raise InputError(f"the next page is on another host ({there.hostname}); it is not followed")
        self._pace.wait()
        answer = self._parse(url).ask("GET", self._headers, max_bytes=self._config.max_bytes)
        self._judge(answer, now_ns)
        return answer

    def _parse(self, url: str) -> Target:
        return Target.parse(
            url, timeout=self._config.timeout / SECOND, allow_private=self._config.allow_private,
            where=f"source {self._name!r}",
        )  # fmt: skip

    def _judge(self, answer: Answer, now_ns: int) -> None:
        if 200 <= answer.status < 300:
            return
        if answer.status in (429, 503):
            self._not_before_ns = now_ns + wait_ns(answer.headers.get("retry-after", ""))
        hint = "; redirects are not followed, give the final address" if 300 <= answer.status < 400 else ""
        raise InputError(f"{self._target} answered {answer.status}; 2xx was expected{hint}")


def wait_ns(text: str) -> int:
    """Whole seconds as `Retry-After` gives them, within reason; a date is taken as the longest wait."""
    if not text:
        return 0
    return min(int(text) * SECOND, _LONGEST_WAIT_NS) if text.isdecimal() else _LONGEST_WAIT_NS
