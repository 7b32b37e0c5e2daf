"""Grants: asked for by auditors, approved by somebody else, revoked by either side."""

from __future__ import annotations

import os
from typing import Annotated

from litestar import get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, Parameter
from litestar.response import Response

from service import door, schema
from service.door import AnyRequest
from service.routes import common
from vault import grants, search
from vault.grants import Told

_GRANT = ResponseSpec(schema.GrantView, generate_examples=False)
GrantId = Annotated[str, Parameter(max_length=64)]


@post(
    "/v1/grants",
    responses={201: _GRANT} | common.told(400, 401, 403, 408, 413, 415, 422, 429, 503),
    summary="Ask for a grant",
    tags=["grants"],
    security=common.BY_PERSON,
)
async def ask(request: AnyRequest, data: JSONBody[schema.GrantAsk]) -> Response[bytes]:
    """Ask to open records. Nothing can be opened until a compliance officer, somebody else, has approved."""
    runtime = common.runtime_of(request)
    actor = await door.person(request, runtime)
    vault = runtime.vault.acting(actor)
    ledgers = []
    for name in data.ledgers:
        found = await runtime.ledger(name)
        if found is None:
            await runtime.verb(search.deny, vault, "grant.request")
        else:
            ledgers.append(found)
    expires_at = common.microseconds(data.expires_at)
    assert expires_at is not None
    told = await runtime.verb(
        grants.request,
        vault,
        ledgers,
        start=common.microseconds(data.start),
        end=common.microseconds(data.end),
        classes=tuple(data.classes),
        fields=data.fields,
        duty=data.duty or "",
        purpose=data.purpose,
        case=data.case,
        expires_at=expires_at,
        random=os.urandom,
    )
    return common.answered(view(told, vault.clock()), 201)


@get(
    "/v1/grants",
    responses={200: ResponseSpec(schema.GrantPage, generate_examples=False)} | common.told(400, 401, 403, 429, 503),
    summary="List grants",
    tags=["grants"],
    security=common.BY_PERSON,
)
async def listing(request: AnyRequest) -> Response[bytes]:
    """List one's own grants; a compliance officer sees all of them."""
    runtime = common.runtime_of(request)
    vault = runtime.vault.acting(await door.person(request, runtime))
    found = await runtime.verb(grants.listing, vault)
    return common.answered(schema.GrantPage([view(one, vault.clock()) for one in found]))


@post(
    "/v1/grants/{grant:str}/approve",
    status_code=200,
    responses={200: _GRANT} | common.told(400, 401, 403, 404, 422, 429, 503),
    summary="Approve a grant",
    tags=["grants"],
    security=common.BY_PERSON,
)
async def approve(request: AnyRequest, grant: GrantId) -> Response[bytes]:
    """Approve a request of somebody else."""
    runtime = common.runtime_of(request)
    vault = runtime.vault.acting(await door.person(request, runtime))
    return common.answered(view(await runtime.verb(grants.approve, vault, grant), vault.clock()))


@post(
    "/v1/grants/{grant:str}/revoke",
    status_code=200,
    responses={200: _GRANT} | common.told(400, 401, 403, 404, 422, 429, 503),
    summary="Revoke a grant",
    tags=["grants"],
    security=common.BY_PERSON,
)
async def revoke(request: AnyRequest, grant: GrantId) -> Response[bytes]:
    """End a grant at once, or take a request back."""
    runtime = common.runtime_of(request)
    vault = runtime.vault.acting(await door.person(request, runtime))
    return common.answered(view(await runtime.verb(grants.revoke, vault, grant), vault.clock()))


def view(told: Told, now_us: int) -> schema.GrantView:
    """Spell a grant out."""
    grant = told.grant
    return schema.GrantView(
        grant=grant.id,
        state=grant.state(now_us),
        auditor=grant.auditor,
        ledgers=list(grant.scope.ledgers),
        start=common.instant(grant.scope.start),
        end=common.instant(grant.scope.end),
        classes=list(grant.scope.classes),
        fields=grant.scope.fields,
        duty=grant.scope.duty or None,
        purpose=told.purpose,
        case=told.case,
        requested_at=common.instant(grant.requested_at) or "",
        expires_at=common.instant(grant.expires_at) or "",
        approved_by=grant.approved_by,
        approved_at=common.instant(grant.approved_at),
        revoked_by=grant.revoked_by,
        revoked_at=common.instant(grant.revoked_at),
    )
