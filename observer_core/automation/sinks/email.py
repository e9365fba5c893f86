"""Delivery by e-mail."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from typing import Literal

from observer_core.automation.sinks.message import message_of
from observer_core.shared.clock import SECOND, parse_time
from observer_core.shared.errors import DeliveryError

_SUBJECT = 200


class EmailSink:
    """One mail a record over a verified TLS connection; the server's acceptance counts.

    `Message-ID` is derived from the record's id, so a mail that is sent again is recognised as the same.
    Temporary refusals (4xx), an unreachable server and a failed TLS handshake are tried again; permanent
    ones (5xx: a bad recipient, a login that is wrong) are not. Neither password nor user appears in errors.
    """

    def __init__(
        self, host: str, port: int, *, sender: str, to: Sequence[str], tls: Literal["starttls", "tls"],
        user: str | None = None, password: str | None = None, timeout: float = 20.0,
        ca_file: str | None = None, name: str = "email",
    ) -> None:  # fmt: skip
        self.name = name
        self._host, self._port, self._tls, self._timeout = host, port, tls, timeout
        self._sender, self._to = sender, list(to)
        self._user, self._password, self._ca_file = user, password, ca_file

    def __repr__(self) -> str:
        return f"EmailSink({self._host}:{self._port}, name={self.name!r})"

    def send(self, record_id: str, body: bytes, *, content_type: str, replay: bool) -> int | None:
        mail = self.mail(record_id, body, replay=replay)
        try:
            with self._connect() as server:
                if self._user is not None:
                    server.login(self._user, self._password or "")
                refused = server.send_message(mail, self._sender, self._to)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            raise self._refused("every recipient", max(codes)) from None
        except smtplib.SMTPAuthenticationError as error:
            raise self._refused("the login", error.smtp_code) from None
        except smtplib.SMTPResponseException as error:
            raise self._refused("the mail", error.smtp_code) from None
        except smtplib.SMTPNotSupportedError as error:
            raise DeliveryError(f"{self._where} lacks what is needed: {error}", retry=False) from None
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryError(f"{self._where} cannot be used: {type(error).__name__}: {error}") from None
        if refused:
            raise DeliveryError(
                f"{self._where} took the mail, but not for {len(refused)} of {len(self._to)} recipients",
                250, retry=False,
            )  # fmt: skip
        return 250

    def already_has(self, record_id: str) -> bool:
        return False

    def close(self) -> None:
        pass

    def mail(self, record_id: str, body: bytes, *, replay: bool) -> EmailMessage:
        message = message_of(body)
        mail = EmailMessage()
        title = " ".join(message.title.split())
        mail["Subject"] = ("(replay) " if replay else "") + title[:_SUBJECT]
        mail["From"], mail["To"] = self._sender, ", ".join(self._to)
        mail["Date"] = parsedate_to_datetime(_rfc5322(parse_time(message.time)))
        mail["Message-ID"] = f"<{record_id}@{self._sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        if message.incident:
            # Mail programs show what refers to one id as one conversation.
            mail["References"] = f"<incident-{message.incident}@{self._sender.rpartition('@')[2]}>"
        mail.set_content(message.text + "\n")
        return mail

    def _connect(self) -> smtplib.SMTP:
        trust = ssl.create_default_context(cafile=self._ca_file)
        if self._tls == "tls":
            return smtplib.SMTP_SSL(self._host, self._port, timeout=self._timeout, context=trust)
        server = smtplib.SMTP(self._host, self._port, timeout=self._timeout)
        try:
            server.starttls(context=trust)
        except BaseException:
            server.close()
            raise
        return server

    @property
    def _where(self) -> str:
        return f"mail server {self._host}:{self._port}"

    def _refused(self, what: str, code: int) -> DeliveryError:
        return DeliveryError(f"{self._where} refused {what} with {code}", code, retry=400 <= code < 500)


def _rfc5322(time_ns: int) -> str:
    from email.utils import formatdate

    return formatdate(time_ns // SECOND, usegmt=True)
