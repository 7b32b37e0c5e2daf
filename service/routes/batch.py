"""Batches: JSON lines in, JSON lines out, in order, both as streams.

One thread takes a stream in: it reads, seals and settles, and waits for whoever reads the answers. Whatever arrived
while one group was settled makes the next one, a thousand lines at the most, so a sender that waits for its answers is
never waited for. Each group is paid for like records that come one by one: whoever sends faster is slowed down.
"""

from __future__ import annotations

import asyncio
import io
import time
from concurrent.futures import Future
from contextlib import suppress
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
    `seq` and `leaf_hash` instead of a receipt, and each commit adds a line with its `checkpoint`. Read while you send:
    with more than 8 MiB of answers unread, no more of the batch is read, and after a while it ends."""
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
    """A group could not be sealed while its stream waited for more: the fault is not the stream's."""


class _Enough(problems.HttpProblem):
    """So many lines were refused that the rest is not looked at."""


class _Groups:
    """A stream's lines on their way: one group is read while the one before it is sealed and settled.

    Attributes:
        waiting: lines that belong to no group yet.
        refused: how many lines were refused, or conflicted, so far.
    """

    def __init__(self, batch: _Batch, answers: Answers) -> None:
        self.waiting: list[tuple[int, bytes]] = []
        self.refused = 0
        self._batch = batch
        self._answers = answers
        self._line = batch.runtime.line(batch.ledger)
        self._under_way: tuple[list[tuple[int, bytes]], Future[list[Answer | Exception]]] | None = None

    def go_on(self) -> None:
        """Hand over the lines that wait, once the group before them is answered.

        Raises:
            _Enough: too many were refused by now.
        """
        if self.waiting:
            runtime, key, sent = self._batch.runtime, self._batch.key, list(self.waiting)
            self._answers.rest(runtime.paid(key.producer, len(sent)))
            self.finish()
            if self.refused >= MOST_REFUSED:
                words = f"{self.refused} lines of this batch were refused: from this one on, send them in another"
                raise _Enough("too-many-requests", words)
            self._under_way = sent, runtime.settling.submit(self._line.take, sent, key)
            self.waiting.clear()

    def finish(self) -> None:
        """Wait for the group that is under way, and answer it.

        Raises:
            Gone: nobody reads, or nothing of the group was acknowledged: what stops a whole group would stop the next.
        """
        if self._under_way is None:
            return
        (sent, settling), self._under_way = self._under_way, None
        taken, runtime, key = settling.result(), self._batch.runtime, self._batch.key
        told = [answer.result for answer in taken if not isinstance(answer, Exception)]
        for result in told:
            common.count(runtime.metrics, result)
        self.refused += sum(result.status in (Status.REFUSED, Status.CONFLICTING) for result in told)
        extra = sum(map(dear, told))
        if extra:
            runtime.loop.call_soon_threadsafe(runtime.producer_rate.owe, key.producer, time.monotonic(), extra)
        if any(isinstance(answer, Denied) for answer in taken):
            door.note_revoked(runtime)
        self._answers.put(_spelled(sent, taken, self._batch.request_id, self._batch.minimal))
        if not told:
            raise Gone

    def settle(self) -> None:
        """Take in what waits, and answer it."""
        self.go_on()
        self.finish()

    def settle_meanwhile(self) -> None:
        """The same, called from inside the stream."""
        try:
            self.settle()
        except (Gone, problems.HttpProblem):
            raise
        except Exception as error:
            raise _Unsettled from error

    def leave(self) -> None:
        """Wait for what is under way, though nobody hears of it."""
        if self._under_way is not None:
            self._under_way[1].result()


def _take(batch: _Batch, body: Body, answers: Answers) -> None:
    """Take the whole stream in. What stops it is the last line of the answer."""
    groups = _Groups(batch, answers)
    size = last = 0
    most = batch.runtime.stride(GROUP)
    body.before_waiting = groups.settle_meanwhile
    try:
        stream = cast(BinaryIO, io.BufferedReader(body, 1 << 16))
        unpacked = lines.numbered(stream, most=MOST_BYTES, window=lines.UPLOAD_WINDOW, look=body.look)
        for number, raw in unpacked:
            last = number
            size = size + len(raw) if groups.waiting else len(raw)
            groups.waiting.append((number, raw))
            if len(groups.waiting) >= most or size >= _GROUP_BYTES:
                groups.go_on()
        groups.settle()
    except Gone:
        pass
    except Exception as error:
        if isinstance(error, _Unsettled):
            error = cast(Exception, error.__cause__)
        elif isinstance(error, _Enough):
            del groups.waiting[1:]  # one line says it for all that follow
        elif isinstance(error, RefusedInput | problems.HttpProblem):
            try:
                groups.settle()  # the stream ends here: what came before is taken in
            except Exception as worse:
                error = worse
        if not isinstance(error, Gone):
            with suppress(Gone):
                answers.put(_stopped(error, groups.waiting, last + 1, batch.request_id))
    finally:
        groups.leave()
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
        if receipt is None or result.status is Status.REFUSED:
            found = problems.of_result(result, receipt)
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
