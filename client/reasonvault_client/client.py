"""The client for threads.

with Client("https://vault.example", "payments", key, spool=Path("/var/lib/shop/reasoning")) as client:
    receipt = client.log(record)
    client.log(record, mode="spool")
    client.log(record, mode="best_effort")
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, Unpack, overload

import msgspec

from reasonvault_client.config import Options, Settings
from reasonvault_client.core import Core
from reasonvault_client.counters import Counters
from reasonvault_client.errors import BadReceipt, ClientError, Misconfigured
from reasonvault_client.receipts import Receipt

Record: TypeAlias = dict[str, Any] | bytes | msgspec.Struct
Mode: TypeAlias = Literal["sync", "spool", "best_effort"]


class Client:
    """Logs records of one producer to one ledger. Safe for threads, and across fork.

    Args:
        url: the vault's address.
        ledger: name or uuid.
        key: the producer's key.
        options: see `reasonvault_client.config.Settings`.

    Raises:
        Misconfigured: options that cannot work.
        SpoolBroken: the spool cannot be opened.
    """

    def __init__(self, url: str, ledger: str, key: str, **options: Unpack[Options]) -> None:
        self._core = Core(Settings(url=url, ledger=ledger, key=key, **options))
        if self._core.spool is not None:
            self._core.courier.start()

    @overload
    def log(self, record: Record, mode: Literal["sync"] = "sync") -> Receipt: ...
    @overload
    def log(self, record: Record, mode: Literal["spool", "best_effort"]) -> None: ...
    @overload
    def log(self, record: Record, mode: Mode) -> Receipt | None: ...
    def log(self, record: Record, mode: Mode = "sync") -> Receipt | None:
        """Log one record.

        Args:
            record: bytes are sent exactly as they are; a dict or a Struct is encoded once.
            mode: ``sync`` returns the checked receipt, or raises: use it where money waits for the record. ``spool``
                returns once the record is encrypted and on this host's disk, and delivers it later. ``best_effort``
                never raises and waits for at most ``patience`` seconds; what it loses, ``counters().lost`` counts.

        Returns:
            The receipt in mode ``sync``, else None.

        Raises:
            NotARecord: it cannot be written as JSON.
            Refused, Conflict, Gone: ``sync``; the vault will not take it.
            Denied, Misconfigured: ``sync``; the key, the address or the options are wrong.
            Unavailable: ``sync``; try again with the same record, or log it in mode ``spool``.
            BadReceipt: ``sync``; the vault's answer proves nothing.
            SpoolFull, SpoolBroken: ``spool``; the record was not taken.
        """
        if mode == "best_effort":
            self._core.best_effort(record)
            return None
        body = self._core.encode(record)
        if mode == "spool":
            self._core.write(self._core.queue(body))
            self._core.courier.wake()
            return None
        if mode != "sync":
            raise Misconfigured("mode must be sync, spool or best_effort")
        try:
            return self._core.send(body, patience=self._core.settings.deadline)
        except BadReceipt:
            self._core.explain()
            raise

    def drain(self, timeout: float | None = None) -> None:
        """Deliver the spool now, and wait for it; try for ``timeout`` seconds, ``deadline`` unless given.

        Raises:
            ClientError: why not everything could be delivered. Nothing is lost.
        """
        self._core.drain(timeout)

    def counters(self) -> Counters:
        """Return what became of the records so far."""
        return self._core.counters()

    @property
    def trouble(self) -> ClientError | None:
        """Why background delivery rests, None while it works. Denied and BadReceipt want somebody to act."""
        return self._core.courier.trouble

    def close(self, timeout: float | None = None) -> None:
        """Flush for at most ``timeout`` seconds, and end. What is in the spool waits for the next process."""
        self._core.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._core.settings.url!r}, {self._core.settings.ledger!r})"
