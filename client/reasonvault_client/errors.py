"""One error tree, sorted by who must act. Every message says what to do, and none holds a record, a key or an opening.

    ClientError
      NotARecord        the programmer: this object cannot be written as JSON
      Misconfigured     the programmer: arguments, files or the vault's address cannot work
      Refused           the producer: the vault cannot keep this record as it is
      Conflict          the producer: the id is taken by another record
      Gone              the producer: the record of this id was destroyed
      Denied            the vault's operator: the key is unknown, revoked or not for this ledger
      Unavailable       nobody: wait and log the same record again
      BadReceipt        the auditor: the vault answered with a receipt that proves nothing
        VerifierChanged   the vault shows another key than the one trusted so far
      SpoolFull         the service's operator: the vault was away for too long, or the disk is full
      SpoolBroken       the service's operator: the spool cannot be read or written

The free text of an answer stands in ``reason`` only: it comes from outside, so it never becomes part of a message that
a log might show.
"""

from __future__ import annotations


class ClientError(Exception):
    """Base of all errors of this package."""


class NotARecord(ClientError):
    """The object cannot be written as a JSON object, or as bytes that a request can carry."""


class Misconfigured(ClientError):
    """Arguments, files or the vault's address cannot work."""


class Refused(ClientError):
    """The vault cannot keep this record as it is. The id is not used up: log the corrected record under it.

    Attributes:
        code: the vault's stable word for the fault, such as ``card_number``.
        path: JSON path of the fault.
        reason: the vault's own sentence, at most 300 characters; text from outside, not part of ``str()``.
        status: the HTTP status.
    """

    advice = "correct the record and log it again under the same id"

    def __init__(self, code: str, path: str, reason: str, status: int) -> None:
        super().__init__(f"the vault refused the record: {code} at {path} (status {status}); {self.advice}")
        self.code, self.path, self.reason, self.status = code, path, reason, status

    def __reduce__(self) -> tuple[type[Refused], tuple[str, str, str, int]]:
        return type(self), (self.code, self.path, self.reason, self.status)


class Conflict(ClientError):
    """The vault holds other bytes under this id. Nothing was overwritten."""

    def __init__(self) -> None:
        super().__init__(
            "the vault holds another record under this id; a correction is a record of its own that relates to it"
        )

    def __reduce__(self) -> tuple[type[Conflict], tuple[()]]:
        return type(self), ()


class Gone(ClientError):
    """The record of this id was destroyed when its time was over."""

    def __init__(self) -> None:
        super().__init__("the record of this id was destroyed; log a new one under a new id")

    def __reduce__(self) -> tuple[type[Gone], tuple[()]]:
        return type(self), ()


class Denied(ClientError):
    """The key is unknown, revoked, or not for this ledger. Spooled records stay in the spool."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the vault denies this key (status {status}); ask its operator for a key of this ledger")
        self.status = status

    def __reduce__(self) -> tuple[type[Denied], tuple[int]]:
        return type(self), (self.status,)


class Unavailable(ClientError):
    """The vault cannot be reached or cannot write just now.

    Attributes:
        retry_after: seconds for which the vault asked to be left alone; None where it did not say.
        unknown: whether the record may have arrived. Logging the same bytes again is right in either case.
        status: the HTTP status, where there was an answer that says nothing else.
    """

    def __init__(
        self, what: str, *, retry_after: float | None = None, unknown: bool = False, status: int | None = None
    ) -> None:
        told = "; the record may have arrived" if unknown else ""
        super().__init__(f"{what}{told}; try again later, the same record is safe to send twice")
        self.what, self.retry_after, self.unknown, self.status = what, retry_after, unknown, status

    def __reduce__(self) -> tuple[object, ...]:
        return _unavailable, (self.what, self.retry_after, self.unknown, self.status)


class BadReceipt(ClientError):
    """What the vault answered does not prove that it holds these bytes. The record does not count as delivered."""

    def __init__(self, what: str) -> None:
        super().__init__(f"not a receipt for this record: {what}; keep the record, and tell the vault's auditor")
        self.what = what

    def __reduce__(self) -> tuple[type[BadReceipt], tuple[str]]:
        return type(self), (self.what,)


class VerifierChanged(BadReceipt):
    """The vault signs with another key than the one trusted so far."""

    def __init__(self, where: str) -> None:
        super().__init__(f"the vault shows another verifier key than the one trusted so far ({where})")
        self.what = where


class SpoolFull(ClientError):
    """The spool or its disk has no room. Nothing was dropped, and this record was not taken."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; the record was not taken: see why the vault takes none, or give the spool more room")
        self.what = what

    def __reduce__(self) -> tuple[type[SpoolFull], tuple[str]]:
        return type(self), (self.what,)


class SpoolBroken(ClientError):
    """The spool cannot be read or written."""


def _unavailable(what: str, retry_after: float | None, unknown: bool, status: int | None) -> Unavailable:
    return Unavailable(what, retry_after=retry_after, unknown=unknown, status=status)
