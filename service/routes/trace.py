"""The trace over HTTP, and the login that most of its entries begin with."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery, JSONBody, Parameter
from litestar.response import Response

from service import door, schema
from service.door import AnyRequest
from service.routes import common
from vault import trace


@post(
    "/v1/login",
    status_code=200,
    responses={200: ResponseSpec(schema.Token, generate_examples=False)}
    | common.told(400, 401, 408, 413, 415, 422, 429, 503),
    summary="Log in to a local account",
    tags=["people"],
)
async def login(request: AnyRequest, data: JSONBody[schema.LoginAsk]) -> Response[bytes]:
    """Exchange a local account's password for a short-lived token. An identity provider's tokens need no login."""
    runtime = common.runtime_of(request)
    token = await door.login(request, runtime, data.user, data.password)
    return common.answered(schema.Token(token, "Bearer", runtime.settings.service.token_seconds))


@get(
    "/v1/events",
    responses={200: ResponseSpec(schema.EventPage, generate_examples=False)}
    | common.told(400, 401, 403, 422, 429, 503),
    summary="Who did what",
    tags=["auditors"],
    security=common.BY_PERSON,
)
async def events(
    request: AnyRequest,
    event: Annotated[str | None, Parameter(max_length=64, description="such as record.opened")] = None,
    actor: Annotated[str | None, Parameter(max_length=80)] = None,
    ledger: Annotated[str | None, Parameter(max_length=64, description="name or uuid")] = None,
    start: FromQuery[schema.Instant | None] = None,
    end: FromQuery[schema.Instant | None] = None,
    before: Annotated[int | None, Parameter(ge=0, le=2**53 - 1, description="go on below this position")] = None,
    limit: Annotated[int, Parameter(ge=1, le=trace.MOST)] = 100,
) -> Response[bytes]:
    """Read the events ledger, newest first. Reading it is an event too. Sealed details are for compliance officers."""
    runtime = common.runtime_of(request)
    vault = runtime.vault.acting(await door.person(request, runtime))
    common.refuse_unknown(request)
    subject = None
    if ledger is not None:
        found = await runtime.ledger(ledger)
        subject = ledger if found is None else str(found.id)  # one that is not known is named by no event
    wanted = trace.Wanted(
        event=event,
        actor=actor,
        ledger=subject,
        start=common.microseconds(start),
        end=common.microseconds(end),
        before=before,
        limit=limit,
    )
    page = await runtime.verb(trace.page, vault, wanted)
    shown = [
        schema.EventView(one.seq, one.leaf.at, one.leaf.event, one.leaf.actor, one.leaf.facts, one.details)
        for one in page.shown
    ]
    return common.answered(schema.EventPage(shown, page.before, page.access))
