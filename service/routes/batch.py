"""Batches: JSON lines in, JSON lines out, in order, both as streams.

One thread takes a stream in: it reads, seals and settles, and waits for whoever reads the answers. Whatever arrived
while one group was settled makes the next one, a thousand lines at the most, so a sender that waits for its answers is
never waited for.
"""

from __future__ import annotations

import asyncio
import io
import queue
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, cast

import msgspec
from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath
from litestar.response import Response

from service import door, problems
from service.door import AnyRequest
from service.frame import Receive, Send
from service.routes import common
from service.runtime import Runtime
from vault import lines
from vault.core import canonical
from vault.core.errors import Denied, RefusedInput
from vault.core.standing import ProducerKey
from vault.core.tree import leaf_hash
from vault.ledgers import Ledger
from vault.recordline import RecordLine
from vault.settlement import Answer
from vault.settling import Status

GROUP: Final = 1000
_GROUP_BYTES: Final = 8 << 20
MOST_BYTES: Final = 4 << 30
"""Of one batch once it is unpacked; whoever has more sends two."""
_CHUNKS: Final = 32
_encode = msgspec.json.Encoder().encode


class Gone(Exception):
    """Whoever sent the batch, or read its answers, is not there any more, or waited too long."""


@post(
    "/v1/ledgers/{ledger:str}/records/batch",
    status_code=200,
    operation_class=common.body(common.NDJSON, "One `reasoning-log/1` a line; identity, gzip or zstd."),
    responses={
        200: ResponseSpec(
            str, media_type=common.NDJSON, description="One line for each line, in order.", generate_examples=False
        )
    }
    | common.told(400, 401, 403, 415, 429, 503),
    summary="Append many records",
    tags=["producers"],
    security=common.BY_PRODUCER,
)
async def append_batch(request: AnyRequest, ledger: FromPath[str]) -> Response[Any]:
    """Append a stream of records. Each line is answered with `{"line", "status", "receipt"}` or with
    `{"line", "status", "problem"}`, once its commit is durable. With `Prefer: return=minimal` accepted lines carry
    `seq` and `leaf_hash` instead of a receipt, and each commit adds a line with its `checkpoint`."""
    runtime = common.runtime_of(request)
    key = await door.producer(request, runtime)
    common.require_media_type(request, common.NDJSON)
    common.encoding_of(request, ("identity", "gzip", "zstd"))
    found = await door.ledger_for(request, runtime, key, ledger)
    if runtime.batches.locked():
        raise problems.HttpProblem("too-many-requests", "enough batches are under way: come back", retry_after=2)
    minimal = "return=minimal" in request.headers.get("prefer", "").replace(" ", "")
    return _Both(_Batch(runtime, found, key, minimal, request.scope["state"]["request_id"]))


@dataclass(frozen=True, slots=True)
class _Batch:
    """One batch: into which ledger, by whom, and how its lines are answered."""

    runtime: Runtime
    ledger: Ledger
    key: ProducerKey
    minimal: bool
    request_id: str


class _Both(Response[None]):
    """An answer that is written while the body is still read. The framework's own streams read ahead to see whether
    anybody still listens, and would take the body's parts for that."""

    def __init__(self, batch: _Batch) -> None:
        super().__init__(None, status_code=200, media_type=common.NDJSON)
        self._batch = batch

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """Return what answers; headers of the layers above do not apply, there are none."""
        return self._answer

    async def _answer(self, _scope: Any, receive: Receive, send: Send) -> None:
        batch = self._batch
        headers = [(b"content-type", common.NDJSON.encode())]
        if batch.minimal:
            headers.append((b"preference-applied", b"return=minimal"))
        async with batch.runtime.batches:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await self._stream(batch, receive, send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _stream(self, batch: _Batch, receive: Receive, send: Send) -> None:
        runtime = batch.runtime
        body, answers = _Body(runtime), _Answers(runtime)
        reading = asyncio.ensure_future(body.fill(receive))
        taking = runtime.loop.run_in_executor(runtime.streaming, _take, batch, body, answers)
        try:
            while (chunk := await answers.get()) is not None:
                async with asyncio.timeout(runtime.settings.service.body_seconds):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except TimeoutError:
            pass  # whoever should read does not: what was committed stays, the rest is not answered
        finally:
            answers.close()
            body.stop()
            reading.cancel()
            await asyncio.wait([taking])


def _take(batch: _Batch, body: _Body, answers: _Answers) -> None:
    """Take the whole stream in. What stops it is the last line of the answer."""
    runtime, key, request_id = batch.runtime, batch.key, batch.request_id
    line: RecordLine = runtime.line(batch.ledger)
    waiting: list[tuple[int, bytes]] = []
    size = total = last = 0

    def settle() -> None:
        nonlocal size
        if waiting:
            taken = line.take(waiting, key)
            for answer in taken:
                if not isinstance(answer, Exception):
                    common.count(runtime.metrics, answer.result)
            if any(isinstance(answer, Denied) for answer in taken):
                door.note_revoked(runtime)
            answers.put(_spelled(waiting, taken, request_id, batch.minimal))
            waiting.clear()
            size = 0
            if all(isinstance(answer, Exception) for answer in taken):
                raise Gone  # what stops a whole group would stop the next one too

    body.before_waiting = settle
    try:
        for number, raw in lines.numbered(cast(BinaryIO, io.BufferedReader(body, 1 << 16))):
            last = number
            waiting.append((number, raw))
            size += len(raw)
            total += len(raw)
            if len(waiting) == GROUP or size >= _GROUP_BYTES:
                settle()
            if total > MOST_BYTES:
                raise problems.HttpProblem("too-large", "a batch has 4 GiB at the most: send the rest in another one")
        settle()
    except Gone:
        pass
    except Exception as error:
        if isinstance(error, RefusedInput):  # the stream is damaged: what came before the damage is taken in
            try:
                settle()
            except Exception as worse:
                error = worse
        answers.put(_stopped(error, waiting, last + 1, request_id))
    finally:
        answers.end()


def _stopped(error: Exception, waiting: list[tuple[int, bytes]], after: int, request_id: str) -> bytes:
    """Spell the end of a stream that could not be taken in whole: the lines at hand, or the place it stopped at."""
    found, _ = problems.of_error(error)
    found.request_id = request_id
    said = problems.document(found)
    return b"".join(
        _encode({"line": number, "status": found.status, "problem": said}) + b"\n"
        for number in ([number for number, _ in waiting] or [after])
    )


def _spelled(sent: list[tuple[int, bytes]], taken: list[Answer | Exception], request_id: str, minimal: bool) -> bytes:
    parts: list[bytes] = []
    checkpoint = None
    for (number, _), answer in zip(sent, taken, strict=True):
        if isinstance(answer, Exception):
            parts.append(_stopped(answer, [], number, request_id).rstrip())
            continue
        result, receipt = answer
        if receipt is None:
            found = problems.of_result(result)
            found.request_id = request_id
            said = {"line": result.line, "status": found.status, "problem": problems.document(found)}
            parts.append(_encode(said))
            continue
        status = 201 if result.status is Status.ACCEPTED else 200
        if minimal:
            held = msgspec.json.decode(receipt, type=_Held)
            checkpoint = held.proof.partition("\n\n")[2]
            hashed = canonical.b64(leaf_hash(held.leaf.encode()))
            parts.append(_encode({"line": result.line, "status": status, "seq": result.seq, "leaf_hash": hashed}))
        else:
            parts.append(b'{"line":%d,"status":%d,"receipt":%b}' % (result.line, status, receipt))
    if checkpoint is not None:
        parts.append(_encode({"checkpoint": checkpoint}))
    return b"\n".join(parts) + b"\n"


class _Held(msgspec.Struct):
    leaf: str
    proof: str


class _Body(io.RawIOBase):
    """A request's body as a thread reads it. ``before_waiting`` is called whenever nothing has arrived yet."""

    def __init__(self, runtime: Runtime) -> None:
        self.before_waiting: Any = lambda: None
        self._runtime = runtime
        self._arrived: queue.Queue[bytes | None] = queue.Queue()
        self._room = asyncio.Semaphore(_CHUNKS)
        self._rest = memoryview(b"")
        self._ended = False

    async def fill(self, receive: Receive) -> None:
        """On the loop: hand chunks over, a few at a time."""
        try:
            more = True
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    raise Gone
                if chunk := message.get("body", b""):
                    await self._room.acquire()
                    self._arrived.put(chunk)
                more = message.get("more_body", False)
            self._arrived.put(b"")
        except Exception:
            self._arrived.put(None)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises Gone where the sender went away or stopped sending."""
        if not self._rest and not self._ended:
            self._rest = memoryview(self._next())
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def _next(self) -> bytes:
        try:
            chunk = self._arrived.get_nowait()
        except queue.Empty:
            self.before_waiting()
            try:
                chunk = self._arrived.get(timeout=self._runtime.settings.service.body_seconds)
            except queue.Empty:
                raise problems.HttpProblem("timeout", "the rest of the body did not arrive in time") from None
        if chunk is None:
            raise Gone
        self._ended = not chunk
        if chunk:
            self._runtime.loop.call_soon_threadsafe(self._room.release)
        return chunk

    def stop(self) -> None:
        """Wake a thread that waits for more: there will be none."""
        self._arrived.put(None)


class _Answers:
    """Lines on their way out. A reader that takes too long ends the batch; what was committed stays."""

    def __init__(self, runtime: Runtime) -> None:
        self._loop = runtime.loop
        self._seconds = runtime.settings.service.body_seconds
        self._ready: asyncio.Queue[bytes | None] = asyncio.Queue(4)
        self._closed = False

    async def get(self) -> bytes | None:
        """Return the next lines; None at the end."""
        return await self._ready.get()

    def put(self, chunk: bytes) -> None:
        """From the thread: hand lines over. Raises Gone where nobody takes them."""
        if self._closed:
            raise Gone
        handing = asyncio.run_coroutine_threadsafe(self._ready.put(chunk), self._loop)
        try:
            handing.result(self._seconds)
        except TimeoutError:
            handing.cancel()
            raise Gone from None

    def end(self) -> None:
        """From the thread: there are no more."""
        asyncio.run_coroutine_threadsafe(self._ready.put(None), self._loop)

    def close(self) -> None:
        """On the loop: nobody reads any more."""
        self._closed = True
        while not self._ready.empty():
            self._ready.get_nowait()
