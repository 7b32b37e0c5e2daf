"""The load process against small servers that answer in every way a server can."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bench import records
from bench.http import bodies, load, stream
from bench.http.load import Job, Load
from bench.http.stream import Streamed, Streams

Answering = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pool = records.pool(None, distinct=20)
    return bodies.write(tmp_path_factory.mktemp("bench") / "bodies.jsonl", pool.records)


async def served(answer: Answering, work: Callable[[int], Awaitable[Load | Streamed]]) -> Load | Streamed:
    """Run ``work`` against a server that reads a request with its body and lets ``answer`` write."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
                body = await reader.readexactly(int(fields.get(b"Content-Length", b"0")))
                await answer(body, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        return await work(server.sockets[0].getsockname()[1])


def sent(file: Path, answer: Answering, **more: object) -> Load:
    settings = {"path": "/records", "bodies": file, "most": 50, "connections": 4, "marks": ["rec-"]} | more
    found = asyncio.run(served(answer, lambda port: load.drive(Job(port=port, **settings))))
    assert isinstance(found, Load)
    return found


def plain(status: bytes, body: bytes, head: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\n%scontent-length: %d\r\n\r\n%s" % (status, head, len(body), body)


def test_every_request_has_an_id_of_its_own(file: Path) -> None:
    seen: list[str] = []

    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        document = json.loads(body)
        assert "producer_seq" not in document
        seen.append(document["id"])
        writer.write(plain(b"201 Created", b"rec-1"))

    found = sent(file, answer, first=7)
    assert (found.requests, found.wrong) == (50, 0)
    assert len(set(seen)) == 50
    halves = bodies.read(file)
    assert set(seen) == {bodies.ident(halves, number) for number in range(7, 57)}
    assert 0 < found.p50 <= found.p99 <= found.p999 <= found.worst
    assert found.rate > 0


def test_answers_that_come_in_pieces_are_put_together(file: Path) -> None:
    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        whole = plain(b"201 Created", b"rec-" + b"x" * 100, b"X-Request-Id: 1\r\n")
        for start in range(0, len(whole), 30):
            writer.write(whole[start : start + 30])
            await writer.drain()
            await asyncio.sleep(0)

    found = sent(file, answer, connections=1, most=5)
    assert (found.requests, found.wrong) == (5, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        plain(b"503 Service Unavailable", b"rec-"),
        plain(b"201 Created", b"something else"),
        plain(b"200 OK", b"rec-1"),
        b"HTTP/1.1 201 Created\r\n\r\nrec-1",  # says no length
    ],
)
def test_wrong_answers_are_counted_and_the_first_is_kept(file: Path, wrong: bytes) -> None:
    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(wrong)

    found = sent(file, answer, connections=1, most=3)
    assert (found.requests, found.wrong) == (0, 3)
    assert found.first_wrong.startswith("HTTP/1.1 ")


def test_a_connection_that_is_closed_leaves_a_request_unanswered(file: Path) -> None:
    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.close()

    found = sent(file, answer)
    assert (found.requests, found.wrong) == (0, 4)
    assert "without an answer" in found.first_wrong


def test_paths_are_requests_without_a_body(tmp_path: Path) -> None:
    (tmp_path / "paths").write_text("/a\n/b\n/c\n")

    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        assert body == b""
        writer.write(plain(b"200 OK", b"rec-1"))

    settings = {"bodies": None, "paths": tmp_path / "paths", "method": "GET", "first": 1, "status": 200}
    found = sent(tmp_path, answer, **settings)
    assert (found.requests, found.wrong) == (2, 0)


def test_time_ends_a_job(file: Path) -> None:
    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(plain(b"201 Created", b"rec-1"))

    found = sent(file, answer, seconds=0.0)
    assert (found.requests, found.wrong) == (0, 0)


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.5, 51.0), (0.99, 100.0), (0.999, 100.0)])
def test_quantiles(share: float, value: float) -> None:
    assert load.at([float(number) for number in range(1, 101)], share) == value


def streamed(file: Path, answer: Answering, streams: int = 2) -> Streamed:
    def work(port: int) -> Awaitable[Streamed]:
        return stream.drive(Streams(port=port, path="/batch", bodies=file, most=30, streams=streams))

    found = asyncio.run(served(answer, work))
    assert isinstance(found, Streamed)
    return found


def chunked(*pieces: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"".join(
        b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b"")
    )


def test_batch_answers_are_counted_across_pieces(file: Path) -> None:
    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        lines = [b'{"line":%d,"status":201,"seq":1}\n' % number for number, _ in enumerate(body.splitlines(), 1)]
        whole = b"".join(lines) + b'{"checkpoint":"..."}\n'
        writer.write(chunked(whole[:40], whole[40:]))

    found = streamed(file, answer)
    assert (found.records, found.wrong, found.first_wrong) == (30, 0, "")


def test_a_batch_line_that_was_refused_is_told(file: Path) -> None:
    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        count = len(body.splitlines())
        lines = [b'{"line":%d,"status":201,"seq":1}\n' % number for number in range(1, count)]
        writer.write(chunked(b"".join(lines), b'{"line":%d,"status":422,"problem":{}}' % count))

    found = streamed(file, answer)
    assert (found.records, found.wrong) == (28, 2)
    assert '"status":422' in found.first_wrong


def test_a_batch_that_is_refused_as_a_whole_is_told(file: Path) -> None:
    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(plain(b"415 Unsupported Media Type", b"no") + b"\r\n")
        writer.close()

    found = streamed(file, answer, streams=1)
    assert (found.records, found.wrong) == (0, 30)
    assert "415" in found.first_wrong


def test_a_batch_answer_that_breaks_off_is_told(file: Path) -> None:
    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(chunked(b'{"line":1,"status":201,"seq":1}\n')[:-9])
        writer.close()

    found = streamed(file, answer, streams=1)
    assert found.records == 0
    assert "broke off" in found.first_wrong
