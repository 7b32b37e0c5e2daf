"""Batches: JSON lines in, JSON lines out, in order, both as streams.

One thread takes a stream in: it reads, seals and settles, and waits for whoever reads the answers. Whatever arrived
while one group was settled makes the next one, a thousand lines at the most, so a sender that waits for its answers is
never waited for. Each group is paid for like records that come one by one: whoever sends faster is slowed down.
"""

from __future__ import annotations

import asyncio
import io
import time
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, cast

import msgspec
from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath
from litestar.response import Response

from service import door, frame, problems
from service.door import AnyRequest
from service.frame import Receive, Send
from service.routes import common
from service.runtime import Runtime, dear
from service.streams import Answers, Body, Gone
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
_ENOUGH, _COME_BACK = "enough batches are under way: come back", 2
MOST_BYTES: Final = 4 << 30
"""Of one batch once it is unpacked; whoever has more sends two."""
MOST_REFUSED: Final = 1000
"""Lines, each of them an event for ever, after which a batch is not looked at any further."""
_encode = msgspec.json.Encoder().encode


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
    if not runtime.batches.free(key.producer):
        raise problems.HttpProblem("too-many-requests", _ENOUGH, retry_after=_COME_BACK)
    request.scope["state"]["streams"] = True
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
        slots, producer = batch.runtime.batches, batch.key.producer
        if not slots.take(producer):  # others came in between
            found = problems.problem("too-many-requests", _ENOUGH)
            await frame.answer(send, found, batch.request_id, retry_after=_COME_BACK)
            return
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await self._stream(batch, receive, send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            slots.give(producer)

    async def _stream(self, batch: _Batch, receive: Receive, send: Send) -> None:
        runtime, service = batch.runtime, batch.runtime.settings.service
        pause, seconds = service.body_seconds, service.batch_seconds
        body = Body(runtime.loop, pause=pause, seconds=seconds, most=MOST_BYTES)
        answers = Answers(runtime.loop, pause=pause, seconds=seconds + pause)
        reading = asyncio.ensure_future(body.fill(receive))
        taking = runtime.loop.run_in_executor(runtime.streaming, _take, batch, body, answers)
        try:
            await answers.send(send)
        except TimeoutError:
            pass  # whoever should read does not: what was committed stays, the rest is not answered
        finally:
            answers.close()
            body.stop()
            reading.cancel()
            await asyncio.wait([taking])


class _Unsettled(Exception):
    """A group could not be settled while its stream waited for more: the fault is not the stream's."""


def _take(batch: _Batch, body: Body, answers: Answers) -> None:
    """Take the whole stream in. What stops it is the last line of the answer."""
    runtime, key, request_id = batch.runtime, batch.key, batch.request_id
    line: RecordLine = runtime.line(batch.ledger)
    waiting: list[tuple[int, bytes]] = []
    size = last = refused = 0
    most = runtime.stride(GROUP)

    def settle() -> None:
        nonlocal size, refused
        if waiting:
            answers.rest(runtime.paid(key.producer, len(waiting)))
            taken = line.take(waiting, key)
            told = [answer.result for answer in taken if not isinstance(answer, Exception)]
            for result in told:
                common.count(runtime.metrics, result)
            refused += sum(result.status in (Status.REFUSED, Status.CONFLICTING) for result in told)
            extra = sum(map(dear, told))
            if extra:
                runtime.loop.call_soon_threadsafe(runtime.producer_rate.owe, key.producer, time.monotonic(), extra)
            if any(isinstance(answer, Denied) for answer in taken):
                door.note_revoked(runtime)
            answers.put(_spelled(waiting, taken, request_id, batch.minimal))
            waiting.clear()
            size = 0
            if all(isinstance(answer, Exception) for answer in taken):
                raise Gone  # what stops a whole group would stop the next one too

    def settle_meanwhile() -> None:
        try:
            settle()
        except (Gone, problems.HttpProblem):
            raise
        except Exception as error:
            raise _Unsettled from error

    body.before_waiting = settle_meanwhile
    try:
        stream = cast(BinaryIO, io.BufferedReader(body, 1 << 16))
        unpacked = lines.numbered(stream, most=MOST_BYTES, window=lines.UPLOAD_WINDOW, look=body.look)
        for number, raw in unpacked:
            if refused >= MOST_REFUSED:
                words = f"{refused} lines of this batch were refused: from this one on, send them in another"
                raise problems.HttpProblem("too-many-requests", words)
            last = number
            waiting.append((number, raw))
            size += len(raw)
            if len(waiting) >= most or size >= _GROUP_BYTES:
                settle()
        settle()
    except Gone:
        pass
    except Exception as error:
        if isinstance(error, _Unsettled):
            error = cast(Exception, error.__cause__)
        elif isinstance(
            error, RefusedInput | problems.HttpProblem
        ):  # the stream ends here: what came before is taken in
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
