"""Batch streams: each connection sends its share of a file as one NDJSON request and reads the answer as it comes.

    python -m bench.http.stream < TASK.json > ANSWER.json

Sending and reading go on at the same time: the service answers while it still reads, and would wait for a client that
does not.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import uvloop

from bench.http import bodies

_PIECE = 1 << 18


class Streams(msgspec.Struct, frozen=True, kw_only=True):
    """What to send: ``most`` records numbered from ``first``, shared out between ``streams`` requests."""

    host: str = "127.0.0.1"
    port: int
    path: str
    headers: dict[str, str] = {}
    bodies: Path
    first: int = 0
    most: int
    streams: int = 1
    seconds: float = 120.0


class Streamed(msgspec.Struct, frozen=True):
    """What came of it: lines answered 201, and the first answer that was another."""

    records: int
    wrong: int
    first_wrong: str
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds


async def drive(task: Streams) -> Streamed:
    """Send all streams at once and return when the last is answered."""
    halves = bodies.read(task.bodies)
    lines = [bodies.numbered(halves, number) + b"\n" for number in range(task.first, task.first + task.most)]
    shares = [b"".join(lines[number :: task.streams]) for number in range(task.streams)]
    counts = [len(lines[number :: task.streams]) for number in range(task.streams)]
    cpu, start = time.process_time(), time.perf_counter()
    async with asyncio.timeout(task.seconds):
        found = await asyncio.gather(*(_one(task, share) for share in shares))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    records = sum(fine for fine, _ in found)
    first_wrong = next((words for _, words in found if words), "")
    return Streamed(records, sum(counts) - records, first_wrong, seconds, cpu)


async def _one(task: Streams, share: bytes) -> tuple[int, str]:
    """Return how many lines were answered 201, and the first answer that was another."""
    reader, writer = await asyncio.open_connection(task.host, task.port, limit=1 << 20)
    head = "".join(f"{name}: {value}\r\n" for name, value in task.headers.items())
    writer.write(
        f"POST {task.path} HTTP/1.1\r\nHost: {task.host}:{task.port}\r\nContent-Length: {len(share)}\r\n"
        f"Content-Type: application/x-ndjson\r\n{head}\r\n".encode()
    )
    sending = asyncio.create_task(_send(writer, share))
    try:
        answered = await reader.readuntil(b"\r\n\r\n")
        if not answered.startswith(b"HTTP/1.1 200 "):
            return 0, (answered + await reader.read(1000)).decode("utf-8", "replace")[:600]
        fine, wrong = 0, ""
        async for line in _lines(reader):
            if b'"status":201' in line[:64]:
                fine += 1
            elif line.strip() and b'"checkpoint"' not in line[:16] and not wrong:
                wrong = line.decode("utf-8", "replace")[:300]
        return fine, wrong
    except asyncio.IncompleteReadError as error:
        return 0, f"the answer broke off: {error.partial[:200]!r}"
    finally:
        sending.cancel()
        writer.close()


async def _send(writer: asyncio.StreamWriter, share: bytes) -> None:
    view = memoryview(share)
    for start in range(0, len(view), _PIECE):
        writer.write(view[start : start + _PIECE])
        await writer.drain()


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield the lines of a chunked body."""
    rest = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        piece = rest + (await reader.readexactly(size + 2))[:-2]
        *whole, rest = piece.split(b"\n")
        for line in whole:
            yield line
    if rest:
        yield rest


def main() -> None:
    """Read a task from standard input, do it, write what came of it to standard output."""
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Streams, dec_hook=lambda _kind, text: Path(text))
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(drive(task))))


if __name__ == "__main__":
    main()
