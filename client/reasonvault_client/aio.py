"""The client for asyncio: the same as `reasonvault_client.client`, with ``await``.

Sending is asyncio's own; what writes to disk runs in threads, so the event loop never waits for a disk. Spooled records
are delivered by the same background thread.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Literal, Self, Unpack, overload

import httpx

from reasonvault_client import process
from reasonvault_client.client import Mode, Record
from reasonvault_client.config import Options, Settings
from reasonvault_client.core import SHORTEST, Core
from reasonvault_client.counters import Counters
from reasonvault_client.encoding import Body
from reasonvault_client.errors import BadReceipt, ClientError, Misconfigured, Unavailable
from reasonvault_client.receipts import Receipt
from reasonvault_client.transport import (
    JSON,
    MAX_ANSWER,
    headers_for,
    pause_or_raise,
    refusal,
    timeouts,
    unreachable,
    verify,
)


class AsyncClient:
    """`Client` for asyncio; arguments and errors are the same. Connections belong to one event loop at a time."""

    def __init__(self, url: str, ledger: str, key: str, **options: Unpack[Options]) -> None:
        self._core = Core(Settings(url=url, ledger=ledger, key=key, **options))
        self._http: tuple[int, asyncio.AbstractEventLoop, httpx.AsyncClient] | None = None
        if self._core.spool is not None:
            self._core.courier.start()

    @overload
    async def log(self, record: Record, mode: Literal["sync"] = "sync") -> Receipt: ...
    @overload
    async def log(self, record: Record, mode: Literal["spool", "best_effort"]) -> None: ...
    @overload
    async def log(self, record: Record, mode: Mode) -> Receipt | None: ...
    async def log(self, record: Record, mode: Mode = "sync") -> Receipt | None:
        """Log one record; see `Client.log`."""
        if mode == "best_effort":
            await asyncio.to_thread(self._core.best_effort, record)
            return None
        body = self._core.encode(record)
        if mode == "spool":
            entry = self._core.queue(body)  # here, so that one thread writes what many tasks have queued
            await asyncio.to_thread(self._core.write, entry)
            self._core.courier.wake()
            return None
        if mode != "sync":
            raise Misconfigured("mode must be sync, spool or best_effort")
        try:
            return await self._send(body)
        except BadReceipt:
            await asyncio.to_thread(self._core.explain)
            raise

    async def drain(self, timeout: float | None = None) -> None:
        """Deliver the spool now; see `Client.drain`."""
        await asyncio.to_thread(self._core.drain, timeout)

    def counters(self) -> Counters:
        """Return what became of the records so far."""
        return self._core.counters()

    @property
    def trouble(self) -> ClientError | None:
        """Why background delivery rests, None while it works."""
        return self._core.courier.trouble

    async def aclose(self, timeout: float | None = None) -> None:
        """Flush, and end; see `Client.close`."""
        await asyncio.to_thread(self._core.close, timeout)
        if self._http is not None and self._http[:2] == (os.getpid(), asyncio.get_running_loop()):
            await self._http[2].aclose()
        self._http = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncClient({self._core.settings.url!r}, {self._core.settings.ledger!r})"

    async def _send(self, body: Body) -> Receipt:
        core, settings = self._core, self._core.settings
        end = time.monotonic() + settings.deadline
        data = b""
        attempt = 0
        while True:
            attempt += 1
            longest = max(end - time.monotonic(), SHORTEST)
            try:
                if not core.trust.known:
                    await asyncio.to_thread(lambda most: core.trust.adopt(core.transport.describe(most)), longest)
                data = data or (await asyncio.to_thread(core.numbers.give, body))
                async with asyncio.timeout(longest):
                    answer = await self._post(settings.records_url, data)
                return core.checked(answer, data)
            except TimeoutError:
                raise Unavailable("the vault did not answer in time", unknown=True) from None
            except Unavailable as error:
                pause = pause_or_raise(settings, error, attempt, end)
                core.tally.add(retried=1)
                await asyncio.sleep(pause)

    async def _post(self, url: str, data: bytes) -> bytes:
        try:
            async with self._client().stream("POST", url, content=data, headers=JSON) as response:
                answer = b"".join([chunk async for chunk in _bounded(response.aiter_bytes())])
        except httpx.HTTPError as error:
            raise unreachable(error) from None
        if response.status_code not in (200, 201):
            raise refusal(response, answer)
        return answer

    def _client(self) -> httpx.AsyncClient:
        """Return the connections of this process and loop. Another's are dropped: only it could close them."""
        here = os.getpid(), asyncio.get_running_loop()
        if self._http is None or self._http[:2] != here:
            if self._http is not None and self._http[0] != here[0]:
                process.keep_for_ever(self._http)
            settings = self._core.settings
            made = httpx.AsyncClient(headers=headers_for(settings), timeout=timeouts(settings), verify=verify(settings))
            self._http = (*here, made)
        return self._http[2]


async def _bounded(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > MAX_ANSWER:
            raise Unavailable("the vault's answer is too long", unknown=True)
        yield chunk
