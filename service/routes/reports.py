"""Reports: asked for, watched, fetched."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, Parameter
from litestar.response import File, Response

from service import door, schema
from service.door import AnyRequest
from service.reporting import Job
from service.routes import common
from vault import search

_REPORT = ResponseSpec(schema.ReportView, generate_examples=False)
ReportId = Annotated[str, Parameter(max_length=64)]


@post(
    "/v1/reports",
    status_code=202,
    responses={202: _REPORT} | common.told(400, 401, 403, 408, 413, 415, 422, 429, 503),
    summary="Ask for a report",
    tags=["reports"],
    security=common.BY_PERSON,
)
async def ask(request: AnyRequest, data: JSONBody[schema.ReportAsk]) -> Response[bytes]:
    """Have a report made, under a grant that covers the whole ledger and shows everything; integrity and retention open
    no record, so any grant that names the ledger does, and officers need none. It is made by a process of its own;
    watch it."""
    runtime = common.runtime_of(request)
    vault = runtime.vault.acting(await door.person(request, runtime))
    ledger = await runtime.ledger(data.ledger)
    if ledger is None:
        await runtime.verb(search.deny, vault, "report.request")
        raise AssertionError("unreachable")
    return common.answered(_view(await runtime.verb(runtime.reporting.ask, vault, ledger, data)), 202)


@get(
    "/v1/reports/{report:str}",
    responses={200: _REPORT} | common.told(400, 401, 404, 422, 429, 503),
    summary="Watch a report",
    tags=["reports"],
    security=common.BY_PERSON,
)
async def watch(request: AnyRequest, report: ReportId) -> Response[bytes]:
    """Say where a report of one's own stands."""
    runtime = common.runtime_of(request)
    vault = runtime.vault.acting(await door.person(request, runtime))
    return common.answered(_view(await runtime.verb(runtime.reporting.find, vault, report)))


@get(
    "/v1/reports/{report:str}/file",
    responses={200: ResponseSpec(bytes, media_type="application/pdf", generate_examples=False)}
    | common.told(400, 401, 403, 404, 422, 429, 503),
    summary="Fetch a report",
    tags=["reports"],
    security=common.BY_PERSON,
)
async def fetch(request: AnyRequest, report: ReportId) -> File:
    """Fetch the PDF, if the grant it was made under still holds. The fetching is an event before a byte leaves."""
    runtime = common.runtime_of(request)
    vault = runtime.vault.acting(await door.person(request, runtime))
    path = await runtime.verb(runtime.reporting.fetch, vault, report)
    return File(path, filename=f"{report}.pdf", media_type="application/pdf", content_disposition_type="attachment")


def _view(job: Job) -> schema.ReportView:
    return schema.ReportView(
        report=job.report,
        state=job.state,  # type: ignore[arg-type]  # the file holds what we wrote
        ledger=job.ledger,
        kind=job.kind,
        grant=job.grant,
        requested_at=common.instant(job.requested_at) or "",
        sha256=job.sha256,
        pages=job.pages,
        bytes=job.bytes,
        event=job.event,
        detail=job.detail,
    )
