"""Streams: a request's body as a thread reads it, and the lines that go back, between a thread and the event loop.

Both are bounded in bytes and in time, since whoever is at the other end may send nothing, or a byte now and then, or
read nothing: a stream may pause, but it may not last for ever, and it may not fill the memory.
"""

from __future__ import annotations

import asyncio
import io
import queue
import threading
import time
from typing import Any, Final

from service.frame import Receive, Send
from service.problems import HttpProblem

SLOWEST: Final = 100
"""Bytes a second that a body's sender keeps up, counted over all the time that was spent waiting for it."""
_CHUNKS: Final = 32
UNREAD: Final = 8 << 20
"""Bytes of answers that wait for a reader, beside what server and network hold. Clients that send a whole batch before
they read anything get by with it for some thousand receipts."""
_READY: Final = 1 << 18  # bytes of them that are handed over at a time
_PIECE: Final = 1 << 14
"""Bytes that are handed to the server at a time: it holds back a sender by the number of pieces, not by their size."""


class Gone(Exception):
    """Whoever sent the stream, or read its answers, is not there any more, or waited too long."""


class Body(io.RawIOBase):
    """A request's body.

    Args:
        pause: seconds for which nothing at all may arrive.
        seconds: how long it may take as a whole.
        most: bytes of it as it is sent.

    Attributes:
        before_waiting: called from the thread whenever nothing has arrived yet.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, pause: float, seconds: float, most: int) -> None:
        self.before_waiting: Any = lambda: None
        self._loop = loop
        self._pause = pause
        self._most = most
        self._seconds = seconds
        self._ends = time.monotonic() + seconds
        self._arrived: queue.Queue[bytes | None] = queue.Queue()
        self._room = asyncio.Semaphore(_CHUNKS)
        self._rest = memoryview(b"")
        self._ended = self._stopped = False
        self._got = 0
        self._waited = 0.0

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
        """Raises Gone where the sender went away, HttpProblem where it is too slow or sends too much."""
        if not self._rest and not self._ended:
            self._rest = memoryview(self._next())
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def look(self) -> None:
        """From the thread: see whether to go on.

        Raises:
            Gone: there is nobody to go on for.
            HttpProblem: it took too long as a whole.
        """
        if self._stopped:
            raise Gone
        if time.monotonic() > self._ends:
            raise HttpProblem("timeout", f"one batch takes {self._seconds:.0f} s at the most: send the rest in another")

    def _next(self) -> bytes:
        self.look()
        try:
            chunk = self._arrived.get_nowait()
        except queue.Empty:
            self.before_waiting()
            chunk = self._wait()
        if chunk is None:
            raise Gone
        self._ended = not chunk
        self._got += len(chunk)
        if self._got > self._most:
            raise HttpProblem("too-large", "this batch is too large: send the rest in another one")
        if chunk:
            self._loop.call_soon_threadsafe(self._room.release)
        return chunk

    def _wait(self) -> bytes | None:
        began = time.monotonic()
        patience = min(self._pause, self._pause + self._got / SLOWEST - self._waited, self._ends - began)
        try:
            return self._arrived.get(timeout=max(0.0, patience))
        except queue.Empty:
            self.look()
            raise HttpProblem("timeout", "the rest of the body did not arrive in time") from None
        finally:
            self._waited += time.monotonic() - began

    def stop(self) -> None:
        """Wake a thread that waits for more: there will be none."""
        self._stopped = True
        self._arrived.put(None)


class Answers:
    """Lines on their way out. A reader that takes too long ends the stream.

    Args:
        pause: seconds for which it may take nothing.
        seconds: how long it may take as a whole.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, pause: float, seconds: float) -> None:
        self._loop = loop
        self._pause = pause
        self._seconds = seconds
        self._ready: asyncio.Queue[bytes | None] = asyncio.Queue(UNREAD // _READY)
        self._closed = threading.Event()

    async def send(self, send: Send) -> None:
        """On the loop: hand everything to the server until the end.

        Raises:
            TimeoutError: whoever should read does not, or too slowly.
        """
        async with asyncio.timeout(self._seconds):
            while (lines := await self._ready.get()) is not None:
                for at in range(0, len(lines), _PIECE):
                    async with asyncio.timeout(self._pause):
                        await send({"type": "http.response.body", "body": lines[at : at + _PIECE], "more_body": True})

    def put(self, lines: bytes) -> None:
        """From the thread: hand lines over. Raises Gone where nobody takes them."""
        for at in range(0, len(lines), _READY):
            if self._closed.is_set():
                raise Gone
            handing = asyncio.run_coroutine_threadsafe(self._ready.put(lines[at : at + _READY]), self._loop)
            try:
                handing.result(self._pause)
            except TimeoutError:
                handing.cancel()
                raise Gone from None

    def rest(self, seconds: float) -> None:
        """From the thread: wait. Raises Gone as soon as nobody reads any more."""
        if seconds and self._closed.wait(seconds):
            raise Gone

    def end(self) -> None:
        """From the thread: there are no more."""
        asyncio.run_coroutine_threadsafe(self._ready.put(None), self._loop)

    def close(self) -> None:
        """On the loop: nobody reads any more."""
        self._closed.set()
        while not self._ready.empty():
            self._ready.get_nowait()
