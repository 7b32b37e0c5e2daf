"""A ledger as a standard log: checkpoint, tiles and entry bundles (C2SP tlog-tiles), and proofs ready made.

A client of tlog-tiles is given ``<service>/v1/ledgers/<ledger>/log`` as the log's prefix and a token. Full tiles never
change and may be kept for ever, by whoever was allowed to fetch them: caches between must not (``private``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final, ParamSpec, TypeVar
from uuid import UUID

from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Operation, Schema
from litestar.openapi.spec import Parameter as OpenAPIParameter
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromPath, Parameter
from litestar.response import Response

from service import door
from service.door import AnyRequest
from service.problems import HttpProblem
from service.routes import common
from service.runtime import Runtime
from vault import ledgers, locating, logreading, tiles
from vault.consistency import consistency
from vault.context import Vault
from vault.core.errors import EvidenceError, RefusedInput, UsageError
from vault.core.note import encode_base64
from vault.core.standing import ProducerKey
from vault.core.tilepath import ENTRIES, TilePath

P = ParamSpec("P")
R = TypeVar("R")

_TEXT: Final = "text/plain"  # with charset=utf-8, which the framework adds
_BYTES: Final = "application/octet-stream"
_PARTIAL: Final = {"Cache-Control": "private, max-age=60"}
"""A partial tile never changes either, but nobody asks for it once the log has grown."""
_FOR_EVER: Final = {"Cache-Control": "private, max-age=31536000, immutable"}
_PLAIN: Final = re.compile(rb"/v1/ledgers/[^/]+/log/(tile/.*)\Z", re.DOTALL)
_MOST: Final = 2**53 - 1


@get(
    "/v1/ledgers/{ledger:str}/log/checkpoint",
    responses={200: ResponseSpec(str, description="A C2SP checkpoint.", media_type=_TEXT, generate_examples=False)}
    | common.told(400, 401, 403, 404, 429, 503),
    summary="The newest checkpoint",
    tags=["log"],
    security=common.BY_PRODUCER + common.BY_PERSON,
)
async def checkpoint(request: AnyRequest, ledger: FromPath[str]) -> Response[bytes]:
    """Return the ledger's signed tree head, as a signed note."""
    runtime = common.runtime_of(request)
    vault, place = await _reader(request, runtime, ledger)
    note = await _sound(runtime, _newest, vault, place)
    return common.raw(note.encode(), 200, _TEXT)


@dataclass
class _OfTile(Operation):
    """The framework takes a path that may hold slashes for a URI; it is a tile's."""

    def __post_init__(self) -> None:
        for one in self.parameters or []:
            if isinstance(one, OpenAPIParameter) and one.name == "tile":
                says = "`L/N`, `L/N.p/W`, `entries/N` or `entries/N.p/W`; N in groups of three digits, as `x001/234`"
                one.schema = Schema(type=OpenAPIType.STRING, min_length=1, description=says)


@get(
    "/v1/ledgers/{ledger:str}/log/tile/{tile:path}",
    operation_class=_OfTile,
    responses={
        200: ResponseSpec(bytes, description="Hashes, or entries.", media_type=_BYTES, generate_examples=False),
    }
    | common.told(400, 401, 403, 404, 429, 503),
    summary="A tile or an entry bundle",
    tags=["log"],
    security=common.BY_PRODUCER + common.BY_PERSON,
)
async def tile(request: AnyRequest, ledger: FromPath[str]) -> Response[bytes]:
    """Return hashes of the ledger's tree, 32 bytes each, or entries, each behind its length. Nothing that the newest
    checkpoint does not cover. A full tile may be kept for ever."""
    runtime = common.runtime_of(request)
    wanted = _tile_path(request)
    entries = wanted is not None and wanted.level == ENTRIES
    vault, place = await _reader(request, runtime, ledger, entries=entries)
    if wanted is None:
        raise HttpProblem("not-found", "no such tile can be: its path is spelled as C2SP tlog-tiles has it")
    data = await _sound(runtime, tiles.tile, vault, place, wanted)
    if entries and place == vault.events:
        await runtime.verb(logreading.tell, vault, wanted.first, wanted.width)
    return common.raw(data, 200, _BYTES, _FOR_EVER if wanted.is_full else _PARTIAL)


@get(
    "/v1/ledgers/{ledger:str}/log/proof/{seq:int}",
    responses={200: ResponseSpec(str, description="A C2SP tlog-proof.", media_type=_TEXT, generate_examples=False)}
    | common.told(400, 401, 403, 404, 429, 503),
    summary="An inclusion proof",
    tags=["log"],
    security=common.BY_PRODUCER + common.BY_PERSON,
)
async def proof(request: AnyRequest, ledger: FromPath[str], seq: FromPath[int]) -> Response[bytes]:
    """Return the proof that the entry at a position is under the newest checkpoint. The entry itself is in its
    bundle."""
    runtime = common.runtime_of(request)
    vault, place = await _reader(request, runtime, ledger)
    located = await _sound(runtime, locating.at, vault, place, seq)
    return common.raw(located.proof.to_text().encode(), 200, _TEXT)


@get(
    "/v1/ledgers/{ledger:str}/log/consistency",
    responses={200: ResponseSpec(str, description="Hashes in base64.", media_type=_TEXT, generate_examples=False)}
    | common.told(400, 401, 403, 404, 422, 429, 503),
    summary="A consistency proof",
    tags=["log"],
    security=common.BY_PRODUCER + common.BY_PERSON,
)
async def consistency_proof(
    request: AnyRequest,
    ledger: FromPath[str],
    old: Annotated[int, Parameter(ge=0, le=_MOST, description="size of the smaller tree")],
    new: Annotated[int, Parameter(ge=0, le=_MOST, description="size of the larger tree")],
) -> Response[bytes]:
    """Return the proof that the tree of `old` entries is how that of `new` begins (RFC 6962 2.1.2): a line of base64 a
    hash, none where both are the same or `old` is 0."""
    runtime = common.runtime_of(request)
    vault, place = await _reader(request, runtime, ledger)
    common.refuse_unknown(request)
    hashes = await _sound(runtime, _consistency, vault, place, old, new)
    return common.raw("".join(f"{encode_base64(one)}\n" for one in hashes).encode(), 200, _TEXT)


async def _reader(request: AnyRequest, runtime: Runtime, name: str, *, entries: bool = False) -> tuple[Vault, UUID]:
    """Return the vault as whoever asks sees it, and the ledger that they may read.

    Raises:
        Denied: they may not; an event says so.
        Unknown: there is no such ledger.
    """
    who = await door.producer_or_person(request, runtime)
    if isinstance(who, ProducerKey):
        door.require_producer_rate(runtime, who)
        return runtime.vault, (await door.ledger_for(request, runtime, who, name)).id
    vault = runtime.vault.acting(who)
    if name in (ledgers.EVENTS, str(vault.events)):
        place: UUID | None = vault.events
    else:
        found = await runtime.ledger(name)
        place = None if found is None else found.id
    await runtime.verb(logreading.require, vault, place, entries=entries)
    assert place is not None
    return vault, place


async def _sound(runtime: Runtime, act: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a verb, and count what was not served because it does not hold."""
    try:
        return await runtime.verb(act, *args, **kwargs)
    except EvidenceError:
        runtime.metrics.unsound()
        raise


def _tile_path(request: AnyRequest) -> TilePath | None:
    """Return the tile by its path as it was sent, else None: a second spelling would be a second copy in caches."""
    match = _PLAIN.match(request.scope["raw_path"].partition(b"?")[0])
    try:
        return TilePath.parse(match[1].decode()) if match else None
    except (RefusedInput, UnicodeDecodeError):
        return None


def _newest(vault: Vault, ledger: UUID) -> str:
    note = locating.newest(vault, ledger)
    vault.checkpoints.open(ledger, note)
    return note


def _consistency(vault: Vault, ledger: UUID, old: int, new: int) -> list[bytes]:
    newest = vault.checkpoints.open(ledger, locating.newest(vault, ledger)).size
    if new > newest:
        raise UsageError(f"the newest checkpoint has {newest} entries: new is at most that")
    return consistency(vault, ledger, old, new)
