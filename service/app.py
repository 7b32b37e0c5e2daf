"""The application: routes, errors as problems, and a lifespan that opens the vault and finishes what was begun."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

import structlog
from litestar import Litestar, Request
from litestar.exceptions import (
    ClientException,
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.response import Response

from service import problems
from service.committer import Lanes
from service.door import AnyRequest
from service.frame import App, Frame
from service.metrics import Metrics
from service.reporting import Reporting
from service.routes import batch, common, grants, health, log, records, reports, trace
from service.runtime import Runtime, connections
from service.settings import Settings
from service.wiring import open_for_service
from vault.core.errors import VaultError

API_VERSION: Final = "1"
_SMALL_BODY: Final = 65_536
_HANDLERS: Final = [
    records.append,
    records.find,
    records.show,
    records.ledger_view,
    batch.append_batch,
    grants.ask,
    grants.listing,
    grants.approve,
    grants.revoke,
    trace.login,
    trace.events,
    reports.ask,
    reports.watch,
    reports.fetch,
    log.checkpoint,
    log.tile,
    log.proof,
    log.consistency_proof,
    health.healthz,
    health.readyz,
    health.metrics,
    health.reference,
]
_MISSING_MEMBER: Final = re.compile(r"Object missing required field `([a-z_]+)`")
_log = structlog.get_logger()


def build(home: Path, passphrase: bytes, settings: Settings, lanes: Lanes) -> App:
    """Return one worker's ASGI application. The vault is opened when the server starts it.

    Args:
        lanes: to the process that commits.
    """

    @asynccontextmanager
    async def opened(app: Litestar) -> AsyncIterator[None]:
        with open_for_service(home, passphrase, connections=connections(settings)) as vault:
            reporting = Reporting(home, passphrase)
            runtime = Runtime(home, vault, lanes, reporting, settings, metrics)
            await runtime.verb(vault.vault.register.standing)  # the first look reads the whole ledger: not on a request
            app.state.runtime = runtime
            await runtime.verb(health.look, runtime)
            try:
                yield
            finally:
                runtime.stopping = True
                await reporting.close()
                if runtime.oidc is not None:
                    await runtime.oidc.close()
                runtime.close()
                lanes.close()

    app = application(lifespan=[opened])
    metrics = Metrics(home, routes=sorted({route.path_format for route in app.routes}))
    return Frame(cast(App, app), metrics, settings.service.body_seconds)


class _Request(Request[Any, Any, Any]):
    """What the routes get their documents from."""

    async def json(self) -> Any:
        """A body that is no UTF-8, or nested without end, is its sender's fault and not one of the service."""
        common.require_media_type(self, common.JSON)
        try:
            return await super().json()
        except (UnicodeDecodeError, RecursionError):
            raise ClientException from None


def application(**more: Any) -> Litestar:
    """Return the routes without the frame; without a runtime they tell their API reference and nothing else."""
    return Litestar(
        _HANDLERS,
        exception_handlers={Exception: _problem},
        request_class=_Request,
        request_max_body_size=_SMALL_BODY,
        openapi_config=OpenAPIConfig(
            title="Reasonvault",
            version=API_VERSION,
            description="Payment services append reasoning logs; auditors read them under grants.",
            use_handler_docstrings=True,
            render_plugins=[],
            components=Components(
                security_schemes={
                    "producer": SecurityScheme(type="http", scheme="bearer", description="A producer key, `rvk_...`."),
                    "person": SecurityScheme(type="http", scheme="bearer", description="A person's access token."),
                }
            ),
        ),
        logging_config=None,
        debug=False,
        **more,
    )


def _problem(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Return any error as a problem."""
    found, retry_after = _translated(error)
    request_id = request.scope["state"]["request_id"]
    if found.status == 500:
        _log.error("request failed", request_id=request_id, error=error)
    elif isinstance(error, VaultError) and found.status == 503:
        _log.warning("request not served", request_id=request_id, error=error)
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
    if found.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, MethodNotAllowedException):
        headers |= error.headers or {}
    if found.status == 403:
        common.runtime_of(request).metrics.denial("denied")
    return common.raw(problems.encode(found, request_id), found.status, problems.MEDIA_TYPE, headers)


def _translated(error: Exception) -> tuple[problems.Problem, int | None]:
    match error:
        case ValidationException():
            extra = error.extra if isinstance(error.extra, list) else []
            first = next((one for one in extra if isinstance(one, dict) and one.get("key")), {})
            place = "" if first.get("key") == "data" else str(first.get("key", ""))
            said = _at_fault(place, str(first.get("message", "")))
            return problems.problem("invalid", said, path=place), None
        case NotFoundException():
            return problems.problem("not-found", "nothing is here"), None
        case MethodNotAllowedException():
            return problems.problem("method-not-allowed", "this place does not know the method"), None
        case HTTPException() if error.status_code == 413:
            return problems.problem("too-large", "the body is too large"), None
        case HTTPException() if error.status_code == 415:
            return problems.problem("unsupported-media-type", "the body's Content-Type is application/json"), None
        case ClientException():
            said = "the request cannot be read: a body is JSON, with Content-Type application/json"
            return problems.problem("malformed-request", said), None
    return problems.of_error(error)


def _at_fault(place: str, message: str) -> str:
    """Return what is wrong with a request. The library's own sentence may quote a value, so only names of ours pass."""
    missing = _MISSING_MEMBER.match(message)
    if missing is not None:
        return f"{place or 'the body'} lacks the member {missing[1]}"
    if message.startswith("Object contains unknown field"):
        return f"{place or 'the body'} has a member that is not known here"
    return f"{place or 'the request'} is not what it should be"
