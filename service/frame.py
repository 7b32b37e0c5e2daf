"""The frame around every request: its id, its time, its log line, its figures, and a limit on how long it may dawdle.

Outermost, in plain ASGI, because it also has to hold for what the application behind it never gets to see.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from service import problems
from service.metrics import Metrics
from vault.core import entropy

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

_GIVEN: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_NO_STORE: Final = (b"cache-control", b"no-store")
_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_log = structlog.get_logger()


class Frame:
    """ASGI middleware.

        Args:
            body_seconds: how long a body may take to arrive, from the first look at it to its end. A route that sets
                ``streams`` in the request's state looks after that itself.

    A route, or whoever it asks, may leave ``if_denied`` in the request's state: called where the answer is 403.
    """

    def __init__(self, app: App, metrics: Metrics, body_seconds: float) -> None:
        self._app = app
        self._metrics = metrics
        self._seconds = body_seconds

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Receive,
        send: Send,
    ) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id, ambiguous = _headers(scope["headers"])
        state = scope["state"] = {**scope.get("state", {}), "request_id": request_id}
        status = 0
        deadline: float | None = None
        complete = False

        async def framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status == 403 and (if_denied := state.get("if_denied")):
                    if_denied()
                headers = [*message["headers"], (b"x-request-id", request_id.encode()), *_ALWAYS]
                may_be_kept = any(name.lower() == b"cache-control" for name, _ in message["headers"])
                message["headers"] = headers if may_be_kept else [*headers, _NO_STORE]
            await send(message)

        async def received() -> Message:
            nonlocal deadline, complete
            if complete or state.get("streams"):
                return await receive()
            if deadline is None:
                deadline = asyncio.get_running_loop().time() + self._seconds
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise problems.HttpProblem("timeout", "the rest of the body did not arrive in time") from None
            # Whoever asks on after the end waits for a disconnect, which may take as long as the answer does.
            complete = not message.get("more_body", False)
            return message

        try:
            if ambiguous:
                found = problems.problem("malformed-request", "the request says its length in two ways")
                await answer(framed, found, request_id)
            else:
                await self._app(scope, received, framed)
        except Exception as error:  # nothing of it may reach the server's own log, which quotes
            _log.error("request failed", request_id=request_id, error=error)
            if not status:
                await answer(framed, problems.problem("internal", "an unforeseen fault"), request_id)
        finally:
            seconds = time.perf_counter() - started
            route = scope.get("path_template") or "other"
            self._metrics.request(route, scope["method"], status or 499, seconds)
            quiet = scope["method"] == "POST" and status in (200, 201) and route.startswith("/v1/ledgers")
            note = _log.debug if quiet else _log.info
            note(
                "request",
                request_id=request_id,
                method=scope["method"],
                route=route,
                status=status or 499,
                ms=round(seconds * 1000, 2),
            )


async def answer(send: Send, found: problems.Problem, request_id: str, retry_after: int | None = None) -> None:
    """Send a problem in plain ASGI."""
    body = problems.encode(found, request_id)
    headers = [(b"content-type", problems.MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    if retry_after is not None:
        headers.append((b"retry-after", str(retry_after).encode()))
    await send({"type": "http.response.start", "status": found.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _headers(headers: list[tuple[bytes, bytes]]) -> tuple[str, bool]:
    """Return the request's id, and whether its length is told twice: two readers could see two requests."""
    request_id = ""
    lengths = 0
    for name, value in headers:
        if name == b"x-request-id":
            if _GIVEN.fullmatch(value):
                request_id = value.decode()
        elif name in (b"content-length", b"transfer-encoding"):
            lengths += 1
    return request_id or entropy.draw(8).hex(), lengths > 1
