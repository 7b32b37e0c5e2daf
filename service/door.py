"""The door: who asks. A producer by its key, a person by a token; everybody else leaves an event and nothing more.

    Authorization: Bearer rvk_...      a producer key
    Authorization: Bearer eyJ...       a token: the vault's own, or an identity provider's

The event of a failed attempt is committed before the answer leaves. Attempts of one address are limited, right logins
among them, and so are one person's denials; what a limit refuses is no event: nobody must be able to fill the ledger.
"""

from __future__ import annotations

import time
from typing import Any

from litestar import Request

from service.limits import address_key, retry_after
from service.problems import HttpProblem
from service.runtime import Runtime, require_ledger, require_rate
from vault import events, people, producers
from vault.context import Actor
from vault.core.errors import Denied
from vault.core.standing import ProducerKey
from vault.ledgers import Ledger

STRANGER = Actor("stranger", break_glass=False)
_MAX_HEADER = 8300

AnyRequest = Request[Any, Any, Any]


async def producer(request: AnyRequest, runtime: Runtime, *, fresh: bool = True) -> ProducerKey:
    """Return the producer key of a request.

    Args:
        fresh: False believes the last look, where the key is looked at again before anything is committed.

    Raises:
        HttpProblem: 401, and 429 for an address that tried too often.
    """
    presented = _bearer(request)
    if presented is not None:
        found = producers.authenticate(runtime.vault.register.latest, presented)
        if fresh or isinstance(found, str):  # it may be newer than the last look
            found = producers.authenticate(await runtime.verb(runtime.vault.register.standing), presented)
        if not isinstance(found, str):
            return found
        raise await _refused(request, runtime, "producer", found)
    raise await _refused(request, runtime, "producer", "missing")


async def revoked(request: AnyRequest, runtime: Runtime) -> HttpProblem:
    """Return what is told where a key ended between the door and the commit; the next one stops at the door."""
    await runtime.verb(runtime.vault.register.standing)
    return await _refused(request, runtime, "producer", "revoked")


def note_revoked(runtime: Runtime) -> None:
    """The same for a batch whose key ended under way; blocks."""
    runtime.vault.register.standing()
    runtime.metrics.denial("revoked")
    events.record(runtime.vault.acting(STRANGER), "auth.failed", {"kind": "producer", "code": "revoked"})


def require_producer_rate(runtime: Runtime, key: ProducerKey) -> None:
    """Take one token of a producer's bucket.

    Raises:
        HttpProblem: 429.
    """
    try:
        require_rate(runtime.producer_rate, key.producer, "this producer sends too fast")
    except HttpProblem:
        runtime.metrics.limited(key.producer)
        raise


async def ledger_for(request: AnyRequest, runtime: Runtime, key: ProducerKey, name: str) -> Ledger:
    """Return the ledger that a producer asks for. One that does not exist is refused like one of somebody else's.

    Raises:
        Denied: the key is not for it; an event says so.
        HttpProblem: 429 for an address that tried too often.
    """
    found = await runtime.ledger(name)
    try:
        return require_ledger(found, key)
    except Denied:
        require_rate(runtime.stranger_rate, _address(request, runtime), "too many attempts: wait")
        vault = runtime.vault.acting(Actor(f"producer:{key.producer}", break_glass=False))
        facts = {"act": "ledger.use", "code": "ledger", "key": key.id}
        await runtime.verb(events.record, vault, "access.denied", facts)
        raise


async def person(request: AnyRequest, runtime: Runtime) -> Actor:
    """Return the person of a request. What they may be is decided again by whatever they ask for.

    Raises:
        HttpProblem: 401, and 429 for an address that tried too often.
        Unavailable: the identity provider cannot be reached.
    """
    presented = _bearer(request)
    if presented is None or presented.startswith("rvk_"):
        raise await _refused(request, runtime, "person", "missing")
    try:
        if runtime.tokens.is_ours(presented):
            claims = runtime.tokens.read(presented)
            _require_person(request, runtime, claims.person)
            actor = Actor(claims.person, break_glass=False, generation=claims.generation)
            account = (await runtime.verb(runtime.vault.register.standing)).people.get(claims.person)
            if account is None or account.disabled or account.generation != claims.generation:
                raise Denied("token of an account that changed")
            return actor
        if runtime.oidc is None:
            raise Denied("token key unknown")
        vouched = await runtime.oidc.verify(presented)
    except Denied as error:
        raise await _refused(request, runtime, "person", str(error).removeprefix("token ").replace(" ", "_")) from None
    _require_person(request, runtime, f"{vouched.issuer} {vouched.subject}")
    who = await runtime.verb(people.meet, runtime.vault, vouched.issuer, vouched.subject, vouched.name)
    return Actor(who, break_glass=False, roles=vouched.roles)


def _require_person(request: AnyRequest, runtime: Runtime, who: str) -> None:
    """Limit what one person may ask for, and still more what ends in a denial, which is an event each time."""
    require_rate(runtime.person_rate, who, "too many requests of one person: wait")
    if wait := runtime.denial_rate.wait(who, time.monotonic()):
        raise HttpProblem("too-many-requests", "too many requests were denied: wait", retry_after=retry_after(wait))
    state = request.scope["state"]
    state["if_denied"] = lambda: runtime.denial_rate.owe(who, time.monotonic(), 1)


async def producer_or_person(request: AnyRequest, runtime: Runtime) -> ProducerKey | Actor:
    """Return whoever of both asks."""
    presented = _bearer(request)
    if presented is not None and presented.startswith("rvk_"):
        return await producer(request, runtime)
    return await person(request, runtime)


async def login(request: AnyRequest, runtime: Runtime, name: str, password: str) -> str:
    """Return a token for a local account.

    Raises:
        HttpProblem: 401; 429 for an address that tried too often.
    """
    require_rate(runtime.stranger_rate, _address(request, runtime), "too many attempts to log in: wait")
    try:
        actor = await runtime.login(name, password)
    except Denied as error:
        runtime.metrics.denial("login")
        raise HttpProblem("unauthenticated", str(error)) from None
    assert actor.generation is not None
    return runtime.tokens.issue(actor.name, actor.generation, runtime.settings.service.token_seconds)


async def _refused(request: AnyRequest, runtime: Runtime, kind: str, code: str) -> HttpProblem:
    require_rate(runtime.stranger_rate, _address(request, runtime), "too many attempts: wait")
    facts = {"kind": kind, "code": code}
    runtime.metrics.denial(code)
    await runtime.verb(events.record, runtime.vault.acting(STRANGER), "auth.failed", facts)
    words = "a producer key is needed" if kind == "producer" else "a person's access token is needed"
    return HttpProblem("unauthenticated", words, code=code)


def _bearer(request: AnyRequest) -> str | None:
    header = request.headers.get("authorization", "")
    scheme, _, token = header.partition(" ")
    usable = scheme.lower() == "bearer" and token.isascii() and 0 < len(token) <= _MAX_HEADER
    return token.strip() if usable else None


def _address(request: AnyRequest, runtime: Runtime) -> str:
    """Return whose attempts count together: the peer's, or whoever a trusted proxy says it speaks for."""
    peer = request.client.host if request.client else ""
    if runtime.settings.service.behind_proxy:
        # The last entry is the proxy's own; those before it are the client's to invent.
        peer = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip() or peer
    return address_key(peer)
