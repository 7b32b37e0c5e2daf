"""Records, one by one: appended by producers, found and opened by auditors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import unquote_to_bytes

import msgspec
from litestar import get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Operation, Schema
from litestar.openapi.spec import Parameter as OpenAPIParameter
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromPath, Parameter
from litestar.response import Response

from service import door, problems, schema
from service.door import AnyRequest
from service.routes import common
from vault import reading, search
from vault.core import canonical
from vault.core.errors import Denied
from vault.core.parse import MAX_RECORD
from vault.core.receipt import Receipt
from vault.core.standing import ProducerKey
from vault.settling import Status

_PLAIN = re.compile(rb"/v1/ledgers/[^/]+/records/(.*)\Z", re.DOTALL)
_RECEIPT = ResponseSpec(Receipt, description="The record is in the vault, durable and signed.", generate_examples=False)
_AGAIN = ResponseSpec(Receipt, description="The same record was there already: its receipt.", generate_examples=False)


@post(
    "/v1/ledgers/{ledger:str}/records",
    operation_class=common.body(common.JSON, "One `reasoning-log/1`; exactly these bytes are sealed."),
    responses={201: _RECEIPT, 200: _AGAIN} | common.told(400, 401, 403, 408, 409, 410, 413, 415, 422, 429, 503),
    request_max_body_size=None,  # body_of counts
    summary="Append one record",
    tags=["producers"],
    security=common.BY_PRODUCER,
)
async def append(request: AnyRequest, ledger: FromPath[str]) -> Response[bytes]:
    """Seal one record and answer with its receipt. Sending it again is safe: the same id with the same bytes gets the
    same receipt, and other bytes under a known id are a conflict."""
    runtime = common.runtime_of(request)
    key = await door.producer(request, runtime, fresh=False)
    common.require_media_type(request, common.JSON)
    common.encoding_of(request, ("identity",))
    door.require_producer_rate(runtime, key)
    found = await door.ledger_for(request, runtime, key, ledger)
    raw = await body_of(request)
    try:
        answer = await runtime.append(found, key, raw)
    except Denied:
        raise await door.revoked(request, runtime) from None
    common.count(runtime.metrics, answer.result)
    runtime.charge(key.producer, answer.result)
    if answer.receipt is None or answer.result.status is Status.REFUSED:
        problem = problems.of_result(answer.result, answer.receipt)
        return common.raw(
            problems.encode(problem, request.scope["state"]["request_id"]), problem.status, problems.MEDIA_TYPE
        )
    return common.raw(answer.receipt, 201 if answer.result.status is Status.ACCEPTED else 200)


async def body_of(request: AnyRequest) -> bytes:
    """Return a body that is no longer than a record may be.

    Raises:
        HttpProblem: 413.
    """
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_RECORD:
            raise problems.HttpProblem("too-large", "a record has 1 MiB at the most", code="too_large")
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


@get(
    "/v1/ledgers/{ledger:str}/records",
    responses={200: ResponseSpec(schema.SearchPage, generate_examples=False)}
    | common.told(400, 401, 403, 422, 429, 503),
    summary="Search",
    tags=["auditors"],
    security=common.BY_PERSON,
)
async def find(
    request: AnyRequest,
    ledger: FromPath[str],
    start: Annotated[schema.Instant | None, Parameter(description="occurred_at from here")] = None,
    end: Annotated[schema.Instant | None, Parameter(description="and before this")] = None,
    record: Annotated[str | None, Parameter(max_length=128, description="record id")] = None,
    conversation: Annotated[str | None, Parameter(max_length=128)] = None,
    transaction: Annotated[str | None, Parameter(max_length=128)] = None,
    customer: Annotated[str | None, Parameter(max_length=128)] = None,
    api: Annotated[str | None, Parameter(max_length=64)] = None,
    outcome: Annotated[str | None, Parameter(max_length=64)] = None,
    model: Annotated[str | None, Parameter(max_length=256)] = None,
    flag: Annotated[list[str] | None, Parameter(max_items=16, description="repeat it; all must be set")] = None,
    grant: Annotated[str | None, Parameter(max_length=64, description="id of the grant to search under")] = None,
    cursor: Annotated[str | None, Parameter(max_length=64)] = None,
    limit: Annotated[int, Parameter(ge=1, le=500)] = 100,
) -> Response[bytes]:
    """Find entries within a grant. Conversation, transaction and customer are found by blind indexes. Answers hold
    leaves and facets, never content; the search is an event before its answer leaves."""
    runtime = common.runtime_of(request)
    actor = await door.person(request, runtime)
    common.refuse_unknown(request)
    wanted = search.Wanted(
        start=common.microseconds(start),
        end=common.microseconds(end),
        record=record,
        conversation=conversation,
        transaction=transaction,
        customer=customer,
        api=api,
        outcome=outcome,
        model=model,
        flags=tuple(flag or ()),
        cursor=cursor,
        limit=limit,
    )
    found = await runtime.verb(search.search, runtime.vault.acting(actor), await runtime.ledger(ledger), wanted, grant)
    runtime.metrics.search()
    page = schema.SearchPage([_found(one) for one in found.rows], found.cursor, found.access)
    return common.answered(page)


def _found(row: search.Found) -> schema.FoundView:
    facets = row.facets
    return schema.FoundView(
        seq=row.seq,
        leaf_hash=canonical.b64(row.leaf_hash),
        leaf=msgspec.json.decode(row.leaf),
        record_id=facets.record_id,
        occurred_at=common.instant(facets.occurred_at) or "",
        record_class=facets.record_class,
        jurisdictions=facets.jurisdictions.split(","),
        api=row.api,
        outcome=row.outcome,
        money_moved=facets.money_moved,
        below_threshold=facets.below_threshold,
        score=facets.score,
        model=facets.model,
        flags=list(row.flags),
    )


@dataclass
class _OfRecord(Operation):
    """The framework takes a path that may hold slashes for a URI; it is a record's id."""

    def __post_init__(self) -> None:
        for one in self.parameters or []:
            if isinstance(one, OpenAPIParameter) and one.name == "record_id":
                one.schema = Schema(type=OpenAPIType.STRING, min_length=1, description="the producer's id of it")


@get(
    ["/v1/ledgers/{ledger:str}/records/{record_id:path}", "/v1/ledgers/{ledger:str}/records/batch"],
    operation_class=_OfRecord,
    responses={200: ResponseSpec(schema.RecordView, generate_examples=False)}
    | common.told(400, 401, 403, 404, 410, 422, 429, 503),
    summary="Open one record",
    tags=["auditors"],
    security=common.BY_PERSON,
)
async def show(
    request: AnyRequest,
    ledger: FromPath[str],
    grant: Annotated[str | None, Parameter(max_length=64, description="id of the grant to open it under")] = None,
    purpose: Annotated[str, Parameter(max_length=500, description="beside the grant's own")] = "",
) -> Response[bytes]:
    """Open one record under a grant. The access event is committed before anything is decrypted."""
    runtime = common.runtime_of(request)
    actor = await door.person(request, runtime)
    common.refuse_unknown(request)
    vault, record_id = runtime.vault.acting(actor), _record_id(request)
    subject = await runtime.ledger(ledger)
    if subject is None:
        await runtime.verb(search.deny, vault, "record.open")
        raise AssertionError("unreachable")
    read = await runtime.verb(reading.read, vault, subject, record_id, purpose, grant)
    runtime.metrics.read()
    view = schema.RecordView(
        ledger=str(subject.id),
        seq=read.seq,
        leaf_hash=canonical.b64(read.leaf_hash),
        masked=read.masked is not None,
        grant=read.grant,
        access_event=read.access,
        verification=schema.Verification(read.checkpoint_size, True, True, True),
        receipt=common.document_of(read.receipt),
        record=common.document_of(read.raw if read.masked is None else msgspec.json.encode(read.masked)),
    )
    return common.answered(view)


def _record_id(request: AnyRequest) -> str:
    """Return the id as it was sent: it may hold slashes, and dots that nobody may tidy up.

    Raises:
        HttpProblem: 404, the way to it is not spelled plainly; 422, not UTF-8.
    """
    match = _PLAIN.match(request.scope["raw_path"].partition(b"?")[0])
    if match is None:  # /%72ecords/ is /records/ to the router
        raise problems.HttpProblem("not-found", "nothing is at this path")
    try:
        return unquote_to_bytes(match[1]).decode()
    except UnicodeDecodeError:
        raise problems.HttpProblem("invalid", "a record id is UTF-8 text") from None


@get(
    "/v1/ledgers/{ledger:str}",
    responses={200: ResponseSpec(schema.LedgerView, generate_examples=False)} | common.told(400, 401, 403, 429, 503),
    summary="What receipts of a ledger are checked with",
    tags=["producers"],
    security=common.BY_PRODUCER + common.BY_PERSON,
)
async def ledger_view(request: AnyRequest, ledger: FromPath[str]) -> Response[bytes]:
    """Tell a ledger's origin and verifier key. Pin the key: whoever answers here could answer with another one."""
    runtime = common.runtime_of(request)
    who = await door.producer_or_person(request, runtime)
    if isinstance(who, ProducerKey):
        found = await door.ledger_for(request, runtime, who, ledger)
    else:
        looked = await runtime.ledger(ledger)
        if looked is None:
            await runtime.verb(search.deny, runtime.vault.acting(who), "ledger.look")
        assert looked is not None
        found = looked
    checkpoints = runtime.vault.checkpoints
    view = schema.LedgerView(
        str(found.id),
        found.row.name,
        checkpoints.origin(found.id),
        str(checkpoints.verifier(found.id)),
        [str(key) for key in checkpoints.verifiers(found.id)],
        list(found.genesis.jurisdictions),
    )
    return common.answered(view)
