"""Settings of the service: ``<home>/service.toml``, where there is one. Every setting has a default that is safe.

[service]
listen = "127.0.0.1:8420"
workers = 2

[oidc]                          # see service.identity.settings
issuer = "https://id.example/realms/payments"
audience = "reasonvault"
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import msgspec

from service.identity.settings import OidcSettings, is_loopback, read_oidc
from vault.core.errors import UsageError


class ServiceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``[service]``.

    Attributes:
        listen: address and port.
        workers: processes that answer, each with one beside it that commits; 0 takes one for every two cores.
        tls_cert, tls_key: PEM files. Without them only loopback addresses are listened on, unless ``behind_proxy``.
        behind_proxy: something in front speaks TLS; it is trusted to be the only one who reaches this port.
        records_per_second, burst: what one producer may send, over all workers. Beyond it a single record is refused,
            and a batch is slowed down. A record that is not new, or that cannot be kept, counts as five.
        requests_per_second: what one person may ask for, over all workers; twice that at once after a pause.
        logins_per_minute: attempts of one address to log in, or to use a wrong key or token, and requests of one person
            that end in a denial.
        queue: records that may wait for a commit in one worker before others are told to come back.
        batches: streams that one worker takes in at once.
        producer_batches: and of one producer.
        body_seconds: how long a request's body may take to arrive; a batch may pause that long, not take that long.
        batch_seconds: how long one batch may take as a whole.
        answer_seconds: how long a single record waits for its commit before its outcome is called unknown.
        stop_seconds: how long a worker that is told to stop goes on with what it began.
        token_seconds: how long a local login lasts.
        metrics_token: who may read ``/metrics`` from elsewhere than this machine; empty lets nobody.
        log_level: debug, info, warning or error.
    """

    listen: str = "127.0.0.1:8420"
    workers: int = 0
    tls_cert: str = ""
    tls_key: str = ""
    behind_proxy: bool = False
    records_per_second: float = 5000
    burst: float = 10000
    requests_per_second: float = 50
    logins_per_minute: float = 20
    queue: int = 2000
    batches: int = 4
    producer_batches: int = 2
    body_seconds: float = 30
    batch_seconds: float = 3600
    answer_seconds: float = 30
    stop_seconds: int = 30
    token_seconds: int = 900
    metrics_token: str = ""
    log_level: str = "info"

    @property
    def processes(self) -> int:
        """How many workers run."""
        return self.workers or max(1, (os.cpu_count() or 1) // 2)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port.

        Raises:
            UsageError: not an address and a port.
        """
        host, colon, port = self.listen.rpartition(":")
        if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise UsageError("listen is ADDRESS:PORT, such as 127.0.0.1:8420")
        return host.strip("[]"), int(port)


class Settings(msgspec.Struct, frozen=True):
    """All sections."""

    service: ServiceSettings
    oidc: OidcSettings | None = None


def load(home: Path, **given: object) -> Settings:
    """Read a home's settings. ``given`` are those of the command line; None there means: as the file says.

    Raises:
        UsageError: the file, or what was given, cannot work.
    """
    path = home / "service.toml"
    try:
        document = tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read {path}: {str(error).splitlines()[0]}") from None
    unknown = set(document) - {"service", "oidc"}
    if unknown:
        raise UsageError(f"{path} has a section that nothing knows: {min(unknown)}")
    section = document.get("service", {})
    section |= {key: value for key, value in given.items() if value is not None}
    try:
        service = msgspec.convert(section, ServiceSettings)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}, section [service]: {error}") from None
    _check(service)
    return Settings(service, read_oidc(document))


def _check(service: ServiceSettings) -> None:
    host, _ = service.address
    if bool(service.tls_cert) != bool(service.tls_key):
        raise UsageError("tls_cert and tls_key belong together: name both, or neither")
    if not is_loopback(f"http://{'[' + host + ']' if ':' in host else host}") and not (
        service.tls_cert or service.behind_proxy
    ):
        raise UsageError(
            f"{host} is reached from other machines: name tls_cert and tls_key, or set behind_proxy where TLS ends"
            " in front of it"
        )
    for name in (
        "records_per_second",
        "burst",
        "requests_per_second",
        "logins_per_minute",
        "queue",
        "batches",
        "producer_batches",
        "body_seconds",
        "batch_seconds",
        "stop_seconds",  # without it nobody would ever be cut off
    ):
        if getattr(service, name) < 1:
            raise UsageError(f"{name} is at least 1")
    if not 60 <= service.token_seconds <= 3600:
        raise UsageError("token_seconds is 60 to 3600")
    if service.log_level not in ("debug", "info", "warning", "error"):
        raise UsageError("log_level is debug, info, warning or error")
