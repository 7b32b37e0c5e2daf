"""Workers end when what they live by is gone, idle or busy, and never wait for ever for what they began.

The supervisor sees to workers that it stops itself. Here nobody does: a committer dies, or the supervisor.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.support.decisions import decision, spelled
from tests.support.serving import Service, bearer, family, serving
from tests.support.slow import Wire
from tests.support.vault import Installation

STOP: Final = 5
PATIENCE: Final = 30
"""Seconds for what takes a few; without the means under test nothing happens in any time."""
_JSON: Final = {"Content-Type": "application/json"}
_NDJSON: Final = {"Content-Type": "application/x-ndjson", "Transfer-Encoding": "chunked"}


@pytest.fixture
def service(built: Installation, tmp_path: Path) -> Iterator[Service]:
    """One worker, which waits much longer for a body than it may take to end."""
    with (
        built.copied(tmp_path / "home") as copy,
        serving(copy, stop_seconds=STOP, body_seconds=300) as started,
    ):
        yield started


def test_an_idle_worker_whose_committer_died_is_replaced(service: Service) -> None:
    """Nobody has to lose a record for it."""
    _, worker, committer = family(service.process.pid)
    os.kill(committer, signal.SIGKILL)
    assert _gone([worker])
    assert _append_until_taken(service, service.producer("psp-1", "cn"))


def test_records_that_come_while_a_worker_without_a_committer_ends(service: Service) -> None:
    """Each is told that nobody knows. None of them tells the worker to end once more: a third time would block it."""
    key = service.producer("psp-1", "cn")
    raw = spelled(decision(1))
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(service.url)) for _ in range(4)]
        for wire in wires:
            wire.begin("POST", "/v1/ledgers/cn/records", **bearer(key), **_JSON, **{"Content-Length": str(len(raw))})
            wire.send(raw[:40])
        time.sleep(0.5)
        _, worker, committer = family(service.process.pid)
        os.kill(committer, signal.SIGKILL)
        for wire in wires:
            wire.send(raw[40:])
            answer = wire.answer()
            assert answer is not None
            assert answer.problem()["type"] == "urn:reasonvault:problem:unknown-outcome"
    assert _gone([worker])
    assert _append_until_taken(service, key)


def test_a_stream_that_rests_does_not_keep_a_worker_whose_committer_died(service: Service) -> None:
    with _resting(service, service.producer("psp-1", "cn")):
        _, worker, committer = family(service.process.pid)
        os.kill(committer, signal.SIGKILL)
        assert _gone([worker])
    assert _append_until_taken(service, service.producer("psp-2", "cn"))


def test_a_stream_that_rests_does_not_keep_a_worker_whose_supervisor_died(service: Service) -> None:
    with _resting(service, service.producer("psp-1", "cn")):
        supervisor, worker, committer = family(service.process.pid)
        os.kill(supervisor, signal.SIGKILL)
        assert _gone([worker, committer])


@contextmanager
def _resting(service: Service, key: str) -> Iterator[None]:
    """A batch whose sender says nothing after a record and a half."""
    with Wire(service.url) as wire:
        wire.begin("POST", "/v1/ledgers/cn/records/batch", **bearer(key), **_NDJSON)
        wire.chunk(spelled(decision(1)) + b"\n" + spelled(decision(2))[:40])
        time.sleep(0.5)
        yield


def _gone(pids: list[int]) -> bool:
    """Tell whether processes end, soon. What nobody has waited for yet is gone, too."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if not any(_lives(pid) for pid in pids):
            return True
        time.sleep(0.05)
    for pid in filter(_lives, pids):
        os.kill(pid, signal.SIGKILL)  # an orphan that hangs would outlive the tests
    return False


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _append_until_taken(service: Service, key: str) -> bool:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(httpx.TransportError):
            if service.append("cn", key, spelled(decision(1_000))).status_code in (200, 201):
                return True
        time.sleep(0.1)
    return False
