"""Parked records: what the vault will not take as it is, and what the disk damaged. Kept, encrypted, until somebody
looks.

A parked record is a parcel of its own in ``parked/``; damage keeps the whole parcel. Beside it lies ``<name>.reason``,
a JSON object without content: ``version`` 1, ``parked_at``, ``why``, and what the vault's answer named: ``status``,
``code``, ``path``. The reason is written first, so that no parked record is without one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Literal

import msgspec

from reasonvault_client import files, parcel
from reasonvault_client.errors import Conflict, Gone, Refused, SpoolBroken
from reasonvault_client.parcel import Name
from reasonvault_client.spool import Spool


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why a record was parked. ``why``: refused, conflict, gone, too-large or damaged."""

    version: Literal[1] = 1
    parked_at: str = ""
    why: str
    status: int | None = None
    code: str | None = None
    path: str | None = None
    damaged: int | None = None


class Parked(msgspec.Struct, frozen=True):
    """A parked record and its reason."""

    name: str
    records: int
    bytes: int
    reason: Reason


def told(error: Refused | Conflict | Gone) -> Reason:
    """Return the reason for what the vault said; its free text is left out."""
    if isinstance(error, Conflict):
        return Reason(why="conflict", status=409)
    if isinstance(error, Gone):
        return Reason(why="gone", status=410)
    why = "too-large" if error.status == 413 else "refused"
    return Reason(why=why, status=error.status, code=error.code, path=error.path)


def park(spool: Spool, name: Name, index: int, record: bytes, reason: Reason) -> None:
    """Keep one record of a parcel apart. The parcel itself is the caller's to finish.

    Doing it twice, as after a crash, leaves one.
    """
    own = Name(name.ticket + index, 1, name.producer_seq)
    data = parcel.pack(own, [record], spool.key, os.urandom(parcel.SALT_BYTES))
    with _writing(), spool.counter.locked() as held:
        state = spool.settled(held)
        held.store(state._replace(dirty=True))
        path = spool.parked_folder / str(own)
        before = path.stat().st_size if path.exists() else None
        _write_reason(spool, own, reason)
        files.replace(path, data)
        grown = len(data) - (before or 0)
        held.store(state._replace(records=state.records + (before is None), bytes=state.bytes + grown))


def park_damaged(spool: Spool, name: Name, damaged: int) -> None:
    """Move a parcel with damaged records aside as it is; what could be read of it was delivered."""
    with _writing(), spool.counter.locked() as held:
        state = spool.settled(held)
        held.store(state._replace(dirty=True))
        _write_reason(spool, name, Reason(why="damaged", damaged=damaged))
        os.rename(spool.folder / str(name), spool.parked_folder / str(name))
        files.sync_folder(spool.parked_folder)
        files.sync_folder(spool.folder)
        held.store(state)


def parked(spool: Spool) -> list[Parked]:
    """Return what is parked, oldest first."""
    found = []
    for name in spool.parked_names():
        try:
            size = (spool.parked_folder / str(name)).stat().st_size
        except FileNotFoundError:
            continue  # somebody put it back just now
        found.append(Parked(str(name), name.records, size, _read_reason(spool, name)))
    return found


def retry(spool: Spool, name: Name) -> None:
    """Put a parked parcel back in line, at the place that its ticket gives it.

    Raises:
        SpoolBroken: it is not there.
    """
    with _writing(), spool.counter.locked() as held:
        state = spool.settled(held)
        held.store(state._replace(dirty=True))
        os.rename(spool.parked_folder / str(name), spool.folder / str(name))
        files.sync_folder(spool.folder)
        (spool.parked_folder / f"{name}.reason").unlink(missing_ok=True)
        files.sync_folder(spool.parked_folder)
        held.store(state)


@contextmanager
def _writing() -> Iterator[None]:
    """Turn the disk's errors into the client's."""
    try:
        yield
    except OSError as error:
        raise SpoolBroken(f"cannot move a record in the spool: {error.strerror}") from None


def instant(seconds: float) -> str:
    """Return Unix seconds as RFC 3339 UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _write_reason(spool: Spool, name: Name, reason: Reason) -> None:
    dated = msgspec.structs.replace(reason, parked_at=instant(time.time()))
    files.replace(spool.parked_folder / f"{name}.reason", msgspec.json.encode(dated) + b"\n")


def _read_reason(spool: Spool, name: Name) -> Reason:
    try:
        return msgspec.json.decode((spool.parked_folder / f"{name}.reason").read_bytes(), type=Reason)
    except (OSError, msgspec.MsgspecError):
        return Reason(why="unknown")
