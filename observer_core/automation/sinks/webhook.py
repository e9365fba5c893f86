"""Delivery by HTTP POST."""

from __future__ import annotations

import hashlib
import hmac

from observer_core import __version__
from observer_core.automation.sinks.posting import judge
from observer_core.safety.outbound import OutboundError, Target
from observer_core.shared.errors import DeliveryError


class WebhookSink:
    """POSTs each record; only an answer 2xx counts, and `send` returns within `timeout` seconds.

    Bounded as `safety.outbound` says: in time, and in where it goes.

    Headers: `Idempotency-Key` is the record id; `X-QTS-Replay: true` marks a replay; with a
    secret, `X-QTS-Signature` is `signature(…)`. Another attempt is worth it after a timeout,
    a network failure, 408, 429 and 5xx; not after other answers. Neither the secret nor the
    path of the URL (which often is one) appears in errors or `repr`.
    """

    def __init__(
        self,
        url: str,
        *,
        secret: str | None = None,
        timeout: float = 10.0,
        allow_private: bool = False,
        name: str = "webhook",
    ) -> None:
        self.name = name
        self._target = Target.parse(
            url, timeout=timeout, allow_private=allow_private, where=f"webhook {name!r}"
        )
        self._secret = None if secret is None else secret.encode()

    def __repr__(self) -> str:
        return f"WebhookSink({str(self._target)!r}, name={self.name!r})"

    def send(self, record_id: str, body: bytes, *, content_type: str, replay: bool) -> int:
        headers = {
            "Content-Type": content_type,
            "Idempotency-Key": record_id,
            "User-Agent": f"qts-observer/{__version__}",
            "Connection": "close",
        }
        if replay:
            headers["X-QTS-Replay"] = "true"
        if self._secret is not None:
            headers["X-QTS-Signature"] = signature(self._secret, record_id, body)
        try:
            answer = self._target.ask("POST", headers, body)  # the status is the answer
        except OutboundError as error:
            raise DeliveryError(str(error), retry=error.retry) from None
        judge(self._target, answer)
        return answer.status

    def already_has(self, record_id: str) -> bool:
        return False

    def close(self) -> None:
        pass


def signature(secret: bytes, record_id: str, body: bytes) -> str:
    """`v1=` and the HMAC-SHA256 (hex) of `<record id>.<body>`.

    The receiver computes it anew from `Idempotency-Key` and the body as it came, and
    compares in constant time. A repeat carries the same signature: what stops replays by
    third parties is the receiver's memory of the ids it has seen.
    """
    return "v1=" + hmac.new(secret, record_id.encode() + b"." + body, hashlib.sha256).hexdigest()
