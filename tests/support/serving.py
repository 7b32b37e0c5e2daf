"""The real service for a test: started by its command line, asked until it is ready, stopped by signal.

    with serving(installation, workers=2) as service:
        producer = service.producer("psp-1", "cn")
        service.append("cn", producer, decision(7))
        auditor = service.login("anna")

Accounts are made in this process with a hash that costs nothing to try; everything else goes over the wire.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from argon2 import PasswordHasher

from service.accounts import Accounts
from tests.support.vault import Installation
from vault import ledgers, producers

ROOT = Path(__file__).parents[2]
PASSWORD = "a long enough password"
_CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
_START_SECONDS = 60
_STOP_SECONDS = 60


@dataclass
class Service:
    """A service that answers, and the vault behind it."""

    installation: Installation
    url: str
    process: subprocess.Popen[bytes]
    log: Path
    client: httpx.Client = field(repr=False)

    def producer(self, name: str, *names: str) -> str:
        """Give a producer a key for ledgers by name, and return the key."""
        with self.installation.opened() as vault:
            into = [ledgers.get(vault, one) for one in names]
            _, key = producers.add(vault, name, into, os.urandom)
        return key

    def person(self, name: str, *roles: str) -> str:
        """Make an account, and return the person's id."""
        with self.installation.opened() as vault:
            return Accounts(self.installation.home, _CHEAP).add(vault, name, roles, PASSWORD).id

    def login(self, name: str) -> str:
        """Return a token for an account that ``person`` made."""
        answer = self.client.post("/v1/login", json={"user": name, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        token = answer.json()["access_token"]
        assert isinstance(token, str)
        return token

    def people(self) -> tuple[str, str]:
        """Make an auditor and an officer, and return their tokens."""
        self.person("anna", "auditor")
        self.person("olaf", "officer")
        return self.login("anna"), self.login("olaf")

    def append(self, ledger: str, key: str, raw: bytes) -> httpx.Response:
        """Send one record."""
        headers = {**bearer(key), "Content-Type": "application/json"}
        return self.client.post(f"/v1/ledgers/{ledger}/records", content=raw, headers=headers)

    def granted(self, auditor: str, officer: str, *names: str, fields: str = "full", **more: Any) -> str:
        """Ask for a grant as the auditor, approve it as the officer, and return its id."""
        asked = {
            "ledgers": list(names),
            "purpose": "a test looks",
            "case": "case-1",
            "fields": fields,
            "expires_at": (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            **more,
        }
        answer = self.client.post("/v1/grants", json=asked, headers=bearer(auditor))
        assert answer.status_code == 201, answer.text
        grant = answer.json()["grant"]
        answer = self.client.post(f"/v1/grants/{grant}/approve", headers=bearer(officer))
        assert answer.status_code == 200, answer.text
        assert isinstance(grant, str)
        return grant

    def events(self, officer: str, event: str | None = None, limit: int = 500) -> list[dict[str, Any]]:
        """Return the trace, newest first."""
        parameters: dict[str, Any] = {"limit": limit} | ({"event": event} if event else {})
        answer = self.client.get("/v1/events", params=parameters, headers=bearer(officer))
        assert answer.status_code == 200, answer.text
        found = answer.json()["events"]
        assert isinstance(found, list)
        return found

    def lines(self) -> str:
        """Return what the service logged so far."""
        return self.log.read_text("utf-8", "replace")

    def kill(self) -> None:
        """Kill supervisor and workers with -9, at once."""
        for pid in family(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def bearer(token: str) -> dict[str, str]:
    """Return the header that says who asks."""
    return {"Authorization": f"Bearer {token}"}


@contextmanager
def serving(
    installation: Installation, *, workers: int = 1, port: int | None = None, log: Path | None = None, **settings: Any
) -> Iterator[Service]:
    """Run ``reasonvault serve`` for a vault. ``settings`` go into its ``service.toml``, section ``[service]``."""
    if settings:
        lines = [f"{name} = {_toml(value)}" for name, value in settings.items()]
        (installation.home / "service.toml").write_text("[service]\n" + "\n".join(lines) + "\n")
    port = port or free_port()
    log = log or installation.home.parent / f"serve-{port}.log"
    command = [sys.executable, "-m", "cli", "serve", "--listen", f"127.0.0.1:{port}", "--workers", str(workers)]
    environment = {**os.environ, **installation.environment()}
    with log.open("ab") as out:
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=out, stderr=out)
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        service = Service(installation, url, process, log, client)
        try:
            _wait(service)
            yield service
            if process.poll() is None:
                process.terminate()
                assert process.wait(_STOP_SECONDS) == 0, service.lines()[-2000:]
        finally:
            if process.poll() is None:
                service.kill()


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(service: Service) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while service.process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if service.client.get("/readyz").status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError(f"the service did not come up: {service.lines()[-2000:]}")


def family(pid: int) -> list[int]:
    """Return a process and everything it started, parents first."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):  # it may end while we look
            for children in Path(f"/proc/{one}/task").glob("*/children"):
                found.extend(int(child) for child in children.read_text().split())
    return found


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
