"""What a team would write in an afternoon: a handler that INSERTs the JSON and commits, one request at a time.

    DATABASE_URL=... python -m bench.http.rival --listen 127.0.0.1:PORT --workers 2

The same server (Litestar on granian, as many workers), the same database, the same key check on the way in. Nothing is
checked but that the body is JSON with an id, nothing is secret, nothing is proved. It is measured at its fastest: a
statement that commits by itself is one round trip, and the pool's connections prepare it.
"""

from __future__ import annotations

import argparse
import hmac
import os
from typing import Any

import msgspec
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.log import LogLevels
from litestar import Litestar, Request, Response, get, post
from psycopg.errors import UniqueViolation
from psycopg_pool import AsyncConnectionPool

KEY = "a benchmark has no secrets"
TABLE = "CREATE TABLE plain (id text PRIMARY KEY, body jsonb NOT NULL)"
_INSERT = "INSERT INTO plain (id, body) VALUES (%s, %s::text::jsonb)"
_POOL = 16
_AUTHORIZATION = f"Bearer {KEY}".encode()


class Named(msgspec.Struct):
    """What the handler looks at."""

    id: str


_named = msgspec.json.Decoder(Named).decode


@post("/records")
async def insert(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Keep one record."""
    if not hmac.compare_digest(request.headers.get("authorization", "").encode(), _AUTHORIZATION):
        return Response(b'{"error":"unauthenticated"}', status_code=401, media_type="application/json")
    body = await request.body()
    try:
        name = _named(body).id
    except msgspec.MsgspecError:
        return Response(b'{"error":"malformed"}', status_code=422, media_type="application/json")
    pool: AsyncConnectionPool = request.app.state.pool
    try:
        async with pool.connection() as connection:
            await connection.execute(_INSERT, (name, body.decode()), prepare=True)
    except UniqueViolation:
        return Response(b'{"error":"known"}', status_code=409, media_type="application/json")
    return Response(msgspec.json.encode({"id": name}), status_code=201, media_type="application/json")


@get("/healthz")
async def healthz() -> str:
    """Say that there is somebody."""
    return "ok"


async def _connect(app: Litestar) -> None:
    app.state.pool = AsyncConnectionPool(
        os.environ["DATABASE_URL"], min_size=_POOL, max_size=_POOL, kwargs={"autocommit": True}, open=False
    )
    await app.state.pool.open(wait=True)


async def _disconnect(app: Litestar) -> None:
    await app.state.pool.close()


def application() -> Litestar:
    """Return the application of one worker."""
    return Litestar([insert, healthz], on_startup=[_connect], on_shutdown=[_disconnect], openapi_config=None)


def main() -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True)
    parser.add_argument("--workers", type=int, required=True)
    wanted = parser.parse_args()
    host, _, port = wanted.listen.rpartition(":")
    Granian(
        "bench.http.rival:application",
        address=host,
        port=int(port),
        interface=Interfaces.ASGI,
        workers=wanted.workers,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
        factory=True,
        log_level=LogLevels.warning,
    ).serve()


if __name__ == "__main__":
    main()
