"""The pace process: sends single records at a steady rate until it is told to stop.

    python -m bench.retention.pace < JOB.json + "\\n", then end of file > SAMPLES.json

The rate is modest and does not depend on the answers: each record has a moment at which it is due to be sent, and its
latency counts from then. So a server that stands still for a second is seen by every record of that second. There are
more connections than are needed, so that no record waits here for the answer to another.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from bench.contender import Failed
from bench.http import bodies
from bench.http.load import at

_ROOT = Path(__file__).parents[2]
_CONNECTIONS = 16


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to send where: ``rate`` records a second from a file of ``bench.http.bodies``."""

    port: int
    path: str
    headers: dict[str, str]
    bodies: Path
    rate: float


class Sample(NamedTuple):
    """One append: when it was due on the machine's monotonic clock, and the seconds until its answer was there."""

    due: float
    seconds: float


class Latency(NamedTuple):
    """Appends of a stretch of time, in seconds."""

    appends: int
    p50: float
    p99: float
    worst: float


def latency(samples: Sequence[Sample], began: float, ended: float) -> Latency:
    """Return what appends due between two moments met.

    Raises:
        Failed: there were none.
    """
    found = sorted(sample.seconds for sample in samples if began <= sample.due < ended)
    if not found:
        raise Failed("no record was sent in the time that was to be looked at")
    return Latency(len(found), at(found, 0.5), at(found, 0.99), found[-1])


class Pace:
    """The pace process, for the length of a ``with`` block. ``samples`` are there after it."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.samples: list[Sample] = []

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "bench.retention.pace"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_ROOT)
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(self._job, enc_hook=str) + b"\n")
        self._process.stdin.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        said, _ = self._process.communicate()
        if error is None and self._process.returncode != 0:
            raise Failed(f"the pace process ended with exit code {self._process.returncode}")
        if error is None:
            self.samples = [Sample(due, seconds) for due, seconds in json.loads(said)]


def drive(job: Job, stop: threading.Event) -> list[tuple[float, float]]:
    """Send until told to stop.

    Raises:
        Failed: an answer was not what it should be.
    """
    halves = bodies.read(job.bodies)
    numbers = itertools.count()
    began = time.monotonic()

    def send() -> list[tuple[float, float]]:
        connection = http.client.HTTPConnection("127.0.0.1", job.port, timeout=120)
        samples: list[tuple[float, float]] = []
        while not stop.is_set():
            number = next(numbers)
            due = began + number / job.rate
            time.sleep(max(0.0, due - time.monotonic()))
            connection.request("POST", job.path, bodies.numbered(halves, number), job.headers)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 201:
                raise Failed(f"an append was answered with {answer.status}: {said[:300]!r}")
            samples.append((due, time.monotonic() - due))
        return samples

    with ThreadPoolExecutor(_CONNECTIONS) as senders:
        sending = [senders.submit(send) for _ in range(_CONNECTIONS)]
        return [sample for one in sending for sample in one.result()]


def main() -> None:
    """Read a job, send until standard input ends, write the samples to standard output."""
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job, dec_hook=lambda _kind, text: Path(text))
    stop = threading.Event()

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)  # not through the buffer, which nobody could close below a reader
        stop.set()

    threading.Thread(target=wait, daemon=True).start()
    try:
        json.dump(drive(job, stop), sys.stdout)
    except Failed as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
