"""Servers under test: started by their real command line, asked until they answer, told to stop by signal."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.contender import Failed
from bench.http import family

Starting = AbstractContextManager["Running"]

_ROOT = Path(__file__).parents[2]
_START_SECONDS = 60
_STOP_SECONDS = 90


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers. ``pid`` is its first process."""

    pid: int
    port: int


@contextmanager
def started(command: Sequence[str], environment: Mapping[str, str], log: Path, workers: int) -> Iterator[Running]:
    """Start ``python COMMAND --listen 127.0.0.1:PORT --workers N`` and yield it once ``/healthz`` answers.

    Raises:
        Failed: it did not come up, or did not end well. What it said stands in ``log``.
    """
    port = _free_port()
    line = [sys.executable, *command, "--listen", f"127.0.0.1:{port}", "--workers", str(workers)]
    with log.open("wb") as out:
        process = subprocess.Popen(line, env={**os.environ, **environment}, cwd=_ROOT, stdout=out, stderr=out)
    try:
        _wait(process, port, log)
        yield Running(process.pid, port)
        process.terminate()
        if process.wait(_STOP_SECONDS) != 0:
            raise Failed(f"{' '.join(command)} ended with exit code {process.returncode}{_last_words(log)}")
    finally:
        # All of them: workers outlive a supervisor that is killed, and would keep the port.
        for pid in family.members(process.pid) if process.poll() is None else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if _answers(port):
            return
        time.sleep(0.05)
    raise Failed(f"the server did not come up{_last_words(log)}")


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _last_words(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    return f": {lines[-1][:300]}" if lines else ""
