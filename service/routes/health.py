"""Whether the service lives, whether it is ready, and its figures.

Liveness asks nothing but the process: a key provider or database that is down must not have a healthy worker killed.
Readiness asks everything a record or a reading needs, once a second however many want to know. A key provider that is
away counts only once the keys at hand run out: whoever sends requests elsewhere because of it would stop the records
that can still be taken.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import time
from contextlib import suppress
from typing import Final

import msgspec
from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.response import Response

from service import schema, witness_figures
from service.door import AnyRequest
from service.jobs import state
from service.jobs.state import JobState
from service.problems import HttpProblem
from service.routes import common
from service.runtime import Runtime, Seen
from vault.core.errors import EvidenceError, VaultError
from vault.db import store
from vault.db.engine import transact
from vault.provision import OUTLAST_DAYS

_FRESH: Final = 1.0
_OUTLAST: Final = OUTLAST_DAYS * 86_400.0
_DOWN = ResponseSpec(schema.Health, description="Something is out of reach.", generate_examples=False)
_UP = ResponseSpec(schema.Health, generate_examples=False)


@get("/healthz", responses={200: _UP}, summary="Is the process alive", tags=["operations"])
async def healthz() -> Response[bytes]:
    """Answer as long as the worker answers at all."""
    return common.answered(schema.Health("ok"))


@get("/readyz", responses={200: _UP, 503: _DOWN}, summary="Can it do its work", tags=["operations"])
async def readyz(request: AnyRequest) -> Response[bytes]:
    """Say whether database, keys, evidence and identity provider are there."""
    runtime = common.runtime_of(request)
    database, keys, evidence, identity = await _seen(runtime)
    # Its readings end sooner, and say so themselves.
    provided = time.monotonic() - runtime.keys_seen < _OUTLAST
    up = database and provided and evidence and not runtime.stopping
    # People cannot come in without their provider, but payment services go on: it is told, and does not count.
    health = schema.Health("ok" if up else "down", database, keys, evidence, identity)
    return common.answered(health, 200 if up else 503)


async def _seen(runtime: Runtime) -> Seen:
    """Return what the last look saw, or that of a new one where it is more than a second old."""
    at, looking = runtime.looked
    if looking is None or (looking.done() and time.monotonic() - at >= _FRESH):
        looking = asyncio.ensure_future(_look(runtime))
        runtime.looked = (time.monotonic(), looking)
    return await asyncio.shield(looking)  # others wait for the same


async def _look(runtime: Runtime) -> Seen:
    database, keys, evidence = await runtime.verb(look, runtime)
    identity = None
    if runtime.oidc is not None:
        identity = False
        with suppress(VaultError):
            await runtime.oidc.ready()
            identity = True
    return database, keys, evidence, identity


def look(runtime: Runtime) -> tuple[bool, bool, bool]:
    """Say whether database, keys and evidence are there, and note it for the figures."""
    vault = runtime.vault
    database = keys = evidence = False
    with suppress(VaultError):
        transact(vault.engine, store.ledgers, tries=1)
        database = True
    with suppress(VaultError):
        runtime.check_keys()
        keys = True
        runtime.keys_seen = time.monotonic()
    try:
        if database:
            vault.register.standing()
            evidence = True
    except EvidenceError:
        pass
    except VaultError:
        database = False
    runtime.metrics.database(database)
    runtime.metrics.key_provider(keys)
    return database, keys, evidence


def jobs_of(runtime: Runtime) -> list[JobState]:
    """Return how the jobs stand; nothing where the database or ``jobs.toml`` does not say."""
    try:
        return state.read(runtime.vault, runtime.home)
    except VaultError:
        return []


@get(
    "/metrics",
    responses={200: ResponseSpec(str, media_type="text/plain", generate_examples=False)} | common.told(403),
    summary="Figures for Prometheus",
    tags=["operations"],
)
async def metrics(request: AnyRequest) -> Response[bytes]:
    """Return the figures of all workers, to this machine or to whoever has the metrics token."""
    runtime = common.runtime_of(request)
    wanted = runtime.settings.service.metrics_token
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    here = _is_here(request) and not runtime.settings.service.behind_proxy  # behind one, everybody looks like it
    if not (here or (wanted and hmac.compare_digest(given.encode(), wanted.encode()))):
        raise HttpProblem("denied", "figures are for this machine, or for whoever has the metrics token")
    await _seen(runtime)
    runtime.metrics.queue(runtime.waiting())
    runtime.metrics.jobs(await runtime.verb(jobs_of, runtime))
    runtime.metrics.outside(await runtime.verb(witness_figures.read, runtime.vault))
    runtime.note_dropped()
    body, media_type = runtime.metrics.render()
    # The framework adds the charset to a text; named twice, the header could not be parsed by Prometheus.
    return common.raw(body, 200, media_type.removesuffix("; charset=utf-8"))


@get("/openapi.json", include_in_schema=False)
async def reference(request: AnyRequest) -> Response[bytes]:
    """Return the API reference, OpenAPI 3.1."""
    return common.raw(msgspec.json.encode(request.app.openapi_schema.to_schema()), 200)


def _is_here(request: AnyRequest) -> bool:
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
