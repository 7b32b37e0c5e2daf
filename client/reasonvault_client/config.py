"""What a client is told: every option with its unit and default, checked once.

Client("https://vault.example", "payments", key, spool=Path("/var/lib/shop/reasoning"), verifier="vault.example/...")
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote, urlsplit

from reasonvault_client.backoff import Backoff
from reasonvault_client.errors import Misconfigured
from reasonvault_client.spool import Limits


class Options(TypedDict, total=False):
    """The keyword arguments of `Client` and `AsyncClient`; `Settings` says what they mean."""

    spool: Path | str | None
    spool_key: Path | str | None
    limits: Limits
    counter: Path | str | None
    number: bool
    verifier: str | Sequence[str] | None
    origin: str | None
    producer: str | None
    timeout: float
    connect_timeout: float
    deadline: float
    backoff: Backoff
    tls: ssl.SSLContext | None
    insecure: bool
    compress: bool
    batch_records: int
    batch_bytes: int
    deliver: bool
    patience: float
    memory_records: int
    memory_bytes: int
    flush_timeout: float
    denied_pause: float
    handle_sigterm: bool


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where to send, and how.

    Attributes:
        url: the vault's address, without a path or with the one that a proxy gives it.
        ledger: name or uuid of the ledger.
        key: the producer's secret key.
        spool: directory of the spool; None for none, and then there is no mode ``spool``.
        spool_key: file of the spool's key; made beside the spool unless given. See `reasonvault_client.spoolkey`.
        limits: what the spool may hold. When full, ``log`` raises.
        counter: file of the producer's counter; beside the spool unless given. Without a spool it numbers sync records.
        number: whether records that have no producer_seq get one. A job that may log one record twice, in two
            processes, should number by itself or turn this off: two numbers make two records of one id, a conflict.
        verifier: the vault's verifier key, or several while it changes. Without one the vault is asked once, and what
            it says is trusted from then on.
        origin: the ledger's origin, ``host/uuid``; the verifier key's name unless given.
        producer: the vault's id of this producer; where given, receipts must name it.
        timeout: seconds for an answer, or between two pieces of one.
        connect_timeout: seconds to connect.
        deadline: seconds after which ``sync`` gives up, all its tries together.
        backoff: pauses between tries.
        tls: a context of one's own, such as one with a client certificate.
        insecure: allows http:// to another host, where something in between encrypts.
        compress: whether batches are sent in gzip.
        batch_records, batch_bytes: what one batch holds at most. It is sent whole before the answer is read, so the
            connection must be able to hold what the vault answers meanwhile.
        deliver: whether a thread of this process delivers what is spooled.
        patience: seconds that ``best_effort`` waits for a slow disk at most.
        memory_records, memory_bytes: what ``best_effort`` keeps in memory at most when the spool takes nothing.
        flush_timeout: seconds at most for what is left at exit.
        denied_pause: seconds until delivery knocks again after 401, 403 or 404.
        handle_sigterm: whether SIGTERM flushes before whoever handled it so far gets it. A library should not take
            signals unasked.

    Raises:
        Misconfigured: a value that cannot work.
    """

    url: str
    ledger: str
    key: str = field(repr=False)
    spool: Path | str | None = None
    spool_key: Path | str | None = None
    limits: Limits = field(default_factory=Limits)
    counter: Path | str | None = None
    number: bool = True
    verifier: str | Sequence[str] | None = None
    origin: str | None = None
    producer: str | None = None
    timeout: float = 10.0
    connect_timeout: float = 3.0
    deadline: float = 30.0
    backoff: Backoff = field(default_factory=Backoff)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    insecure: bool = False
    compress: bool = True
    batch_records: int = 250
    batch_bytes: int = 1024 * 1024
    deliver: bool = True
    patience: float = 0.05
    memory_records: int = 1000
    memory_bytes: int = 16 * 1024 * 1024
    flush_timeout: float = 5.0
    denied_pause: float = 300.0
    handle_sigterm: bool = False

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.query
            or parts.fragment
            or parts.username
        ):
            raise Misconfigured("url must be http(s)://host[:port][/path], without user, query or fragment")
        if parts.scheme == "http" and not self.insecure and not _is_loopback(parts.hostname):
            raise Misconfigured("http:// would send key and records in clear: use https://, or insecure=True")
        if not self.ledger or self.ledger in (".", ".."):
            raise Misconfigured("ledger must be a name or a uuid")
        if not self.key or not self.key.isascii() or not self.key.isprintable() or " " in self.key:
            raise Misconfigured("key must be a producer key as the vault showed it")
        numbers = (self.timeout, self.connect_timeout, self.deadline, self.batch_records, self.batch_bytes)
        if min(numbers) <= 0 or min(self.patience, self.memory_records, self.flush_timeout, self.denied_pause) < 0:
            raise Misconfigured("times and sizes must be positive")

    @property
    def ledger_url(self) -> str:
        """The ledger's address."""
        return f"{self.url.rstrip('/')}/v1/ledgers/{quote(self.ledger, safe='')}"

    @property
    def records_url(self) -> str:
        """Where single records go."""
        return f"{self.ledger_url}/records"

    @property
    def batch_url(self) -> str:
        """Where batches go."""
        return f"{self.ledger_url}/records/batch"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
