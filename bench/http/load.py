"""The load process: keeps a number of connections busy with requests that were spelled beforehand.

    python -m bench.http.load < JOB.json > ANSWER.json

Client and server share the machine, so what the client spends the server lacks: requests are byte strings that only
lack a number, answers are looked at, not parsed. Every connection sends its next request when it has the
answer to its last (a closed loop), so the latency of a server that is too slow shows as a lower rate, never as a queue
in here.
"""

from __future__ import annotations

import array
import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import msgspec
import uvloop

from bench.http import bodies


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, and what a right answer looks like.

    Attributes:
        bodies: a file of ``bench.http.bodies``; each request takes the next, under the next number.
        paths: a file of one path a line, for requests without a body, in place of ``path`` and ``bodies``.
        first: the first number, or the lines of ``paths`` to leave out.
        most: requests to send at most.
        seconds: when to stop sending, whatever is left.
        marks: byte strings that every answer must hold.
    """

    host: str = "127.0.0.1"
    port: int
    method: str = "POST"
    path: str
    headers: dict[str, str] = {}
    bodies: Path | None = None
    paths: Path | None = None
    first: int = 0
    most: int = 100_000
    seconds: float = 10.0
    connections: int = 1
    status: int = 201
    marks: list[str] = []


class Load(msgspec.Struct, frozen=True):
    """What came of it. Latencies are in seconds, from the first byte sent to the last received.

    Attributes:
        requests: answered as they should be.
        wrong: answered otherwise, or not at all.
        first_wrong: the beginning of the first such answer.
        cpu: processor seconds of the load process.
    """

    requests: int
    wrong: int
    first_wrong: str
    seconds: float
    cpu: float
    p50: float
    p99: float
    p999: float
    worst: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def spelled(job: Job) -> Iterator[bytes]:
    """Yield complete requests."""
    head = "".join(f"{name}: {value}\r\n" for name, value in job.headers.items())
    fixed = f"Host: {job.host}:{job.port}\r\n{head}".encode()
    if job.paths is not None:
        for path in job.paths.read_bytes().splitlines()[job.first : job.first + job.most]:
            yield b"%s %s HTTP/1.1\r\n%s\r\n" % (job.method.encode(), path, fixed)
        return
    assert job.bodies is not None
    line = f"{job.method} {job.path} HTTP/1.1\r\n".encode()
    halves = [
        (b"%s%sContent-Length: %d\r\n\r\n%s" % (line, fixed, len(before) + bodies.DIGITS + len(after), before), after)
        for before, after in bodies.read(job.bodies)
    ]
    for number in range(job.first, job.first + job.most):
        before, after = halves[number % len(halves)]
        yield b"%s%0*d%s" % (before, bodies.DIGITS, number, after)


class Tally:
    """What all connections saw."""

    def __init__(self, job: Job) -> None:
        self.requests = spelled(job)
        self.latencies = array.array("d")
        self.wrong = 0
        self.first_wrong = b""
        self.deadline = 0.0
        self.prefix = b"HTTP/1.1 %d " % job.status
        self.marks = [mark.encode() for mark in job.marks]

    def fault(self, answer: bytes) -> None:
        """Count an answer that is not what it should be."""
        if not self.wrong:
            self.first_wrong = answer[:300]
        self.wrong += 1


class Connection(asyncio.Protocol):
    """One kept-alive connection."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._buffer = b""
        self._need = 0
        self._sent = 0.0
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is no subclass of it

    def send(self) -> None:
        """Send the next request; close where there is none, or no time for it."""
        request = next(self._tally.requests, None)
        self._sent = time.perf_counter()
        if request is None or self._sent >= self._tally.deadline:
            self._sent = 0.0
            self._transport.close()
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        if len(buffer) < self._need:
            self._buffer = buffer
            return
        if not self._need:
            self._need = length(buffer)
            if len(buffer) < self._need or not self._need:
                self._buffer = buffer
                return
        tally = self._tally
        if (
            len(buffer) == self._need
            and buffer.startswith(tally.prefix)
            and all(mark in buffer for mark in tally.marks)
        ):
            tally.latencies.append(time.perf_counter() - self._sent)
        else:
            tally.fault(buffer)
        self._buffer, self._need = b"", 0
        self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if self._sent:
            self._tally.fault(self._buffer or b"the connection was closed without an answer")
        self.over.set_result(None)


def length(buffer: bytes) -> int:
    """Return how long an answer is, head and body; 0 while the head is incomplete.

    An answer that does not say its length counts as its head alone, so that it is found wrong.
    """
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return 0
    head = buffer[:end].lower() + b"\r\n"
    at = head.find(b"\r\ncontent-length:")
    body = int(head[at + 17 : head.index(b"\r\n", at + 2)]) if at >= 0 else 0
    return end + 4 + body


async def drive(job: Job) -> Load:
    """Do the job."""
    loop = asyncio.get_running_loop()
    tally = Tally(job)
    connections = []
    for _ in range(job.connections):
        _, connection = await loop.create_connection(lambda: Connection(tally), job.host, job.port)
        connections.append(connection)
    cpu, start = time.process_time(), time.perf_counter()
    tally.deadline = start + job.seconds
    for connection in connections:
        connection.send()
    await asyncio.wait([connection.over for connection in connections], timeout=job.seconds + 60)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    unanswered = sum(not connection.over.done() for connection in connections)
    found = sorted(tally.latencies) or [0.0]
    return Load(
        requests=len(tally.latencies),
        wrong=tally.wrong + unanswered,
        first_wrong=tally.first_wrong.decode("utf-8", "replace"),
        seconds=seconds,
        cpu=cpu,
        p50=at(found, 0.5),
        p99=at(found, 0.99),
        p999=at(found, 0.999),
        worst=found[-1],
    )


def at(found: list[float], share: float) -> float:
    """Return the value that ``share`` of all sorted values do not exceed."""
    return found[min(len(found) - 1, int(share * len(found)))]


def main() -> None:
    """Read a job from standard input, do it, write what came of it to standard output."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job, dec_hook=lambda _kind, text: Path(text))
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(drive(job))))


if __name__ == "__main__":
    main()
