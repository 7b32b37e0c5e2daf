"""The file of an access request: a zip with one index and one file a record.

    index.json                          what is known of every record that is in it, and how many are not
    records/<ledger>/<position>.json    its exact bytes, or under a masked grant their masked form

Every exported record is proved to be under the ledger's signed checkpoint, opened with every commitment, and asked for
its customer: no leaf commits to a blind index, so what the index finds may be somebody else's, and is left out.

A restricted record is named nowhere unless the grant names a legal duty: somebody wanted it forgotten, and whoever
merely may read the ledger is told how many there are. Here a conflict counts that later rule books brought, too.

Of a record that was destroyed before anybody asked nothing is left that could say whose it was. One that an earlier
request had named is listed by its position and by the disposal that destroyed it.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec

from retention.effective import Effective
from retention.held import Held
from retention.history import History
from vault import matching, proving
from vault.context import Vault
from vault.core import canonical, leaf, masking
from vault.core.errors import Forked, Modified
from vault.core.grant import Grant
from vault.core.record import Record
from vault.core.selection import Selection
from vault.core.tree import leaf_hash
from vault.ledgers import Ledger
from vault.matching import Entry, Reader
from vault.restricting import Restricted

FORMAT: Final = "reasonvault access export/1"
_DAY_ONE: Final = (1980, 1, 1, 0, 0, 0)  # of a zip: the file's bytes depend on what it says alone
_PAGE: Final = 500
_NOT_SAID: Final = (
    "Records that were destroyed before this person was named in a request cannot be found any more: nothing that is "
    "left of them says whose they were."
)


@dataclass(frozen=True, slots=True)
class Part:
    """What one ledger has about the person, within one grant.

    Attributes:
        size: entries that were looked at.
        chosen: records to open; ``selection`` is the digest of them.
        closed: restricted ones that no duty asks for.
        unsound: found, but not what their leaf says.
        gone: position -> disposal that destroyed it; "" where none says so.
    """

    ledger: Ledger
    grant: Grant
    size: int
    chosen: Selection
    closed: Selection
    unsound: Selection
    gone: Mapping[int, str]
    restricted: Restricted
    selection: str


@dataclass(slots=True)
class Written:
    """What is in the file: ledger's uuid -> records; how many are restricted and are not; and how many were found and
    are not what their leaf says."""

    exported: dict[str, Selection] = field(default_factory=dict)
    closed: dict[str, int] = field(default_factory=dict)
    unsound: int = 0


def write(vault: Vault, file: Path, parts: Sequence[Part], customer: str, request: str) -> Written:
    """Open the chosen records and write the file. The access must have been logged before.

    Raises:
        Modified, Missing, Forked: a record is not what was promised.
        OSError: the disk's.
    """
    written = Written()
    index: dict[str, Any] = {
        "format": FORMAT,
        "request": request,
        "tenant": vault.tenant,
        "customer": customer,
        "made_at": leaf.instant(vault.clock() // 1_000_000),
        "not_found": _NOT_SAID,
        "ledgers": [],
    }
    history = History.read(vault)
    with open(file, "xb", opener=_private) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in parts:
            writing = _Writing(vault, part, history, archive, customer)
            rows = writing.rows()
            place = str(part.ledger.id)
            written.exported[place] = Selection.of(writing.exported)
            written.closed[place] = len(part.closed) + writing.closed
            written.unsound += len(part.unsound)
            scope = part.grant.scope
            told = [seq for seq in part.unsound if scope.duty or not part.restricted.has(seq, 0)]
            index["ledgers"].append(
                {
                    "ledger": place,
                    "name": part.ledger.row.name,
                    "grant": part.grant.id,
                    "fields": scope.fields,
                    "start": _instant(scope.start),
                    "end": _instant(scope.end),
                    "classes": list(scope.classes),
                    "entries_looked_at": part.size,
                    "records": rows,
                    "restricted": written.closed[place],
                    "unsound": told,
                    "destroyed": [{"seq": seq, "disposal": one or None} for seq, one in sorted(part.gone.items())],
                }
            )
        _add(archive, "index.json", msgspec.json.format(msgspec.json.encode(index)))
    return written


class _Writing:
    """One ledger's records on their way into the file."""

    def __init__(self, vault: Vault, part: Part, history: History, archive: zipfile.ZipFile, customer: str) -> None:
        self.exported: list[int] = []
        self.closed = 0
        self._vault = vault
        self._part = part
        self._archive = archive
        self._customer = customer
        self._reader = Reader(vault, part.ledger.id)
        self._held = Held(vault, part.ledger.id, vault.register.standing().governance)
        self._effective = Effective(vault, part.ledger, history)

    def rows(self) -> list[dict[str, Any]]:
        """Write what was chosen; return what the index says of it."""
        part = self._part
        return [row for entry in _proved(self._vault, part.ledger.id, part.chosen) if (row := self._open(entry))]

    def _open(self, entry: Entry) -> dict[str, Any] | None:
        raw = self._reader.raw(entry)
        record = msgspec.json.decode(raw, type=Record)
        if record.customer_ref != self._customer or entry.facets is None:
            return None
        place = entry.leaf
        kept = self._effective.of(place, entry.facets, record)
        if kept.conflict and not self._part.grant.scope.duty:
            self.closed += 1
            return None
        if self._part.grant.scope.fields == "masked":
            raw = msgspec.json.encode(masking.mask(msgspec.json.decode(raw)))
        name = f"records/{self._part.ledger.row.name}/{place.seq}.json"
        _add(self._archive, name, raw)
        self.exported.append(place.seq)
        columns = entry.facets
        full = self._part.grant.scope.fields == "full"
        shown = full or masking.shows(columns.record_id, "id")
        return {
            "seq": place.seq,
            "state": "exported",
            "file": name,
            "record_id": columns.record_id if shown else masking.MASKED,
            "occurred_at": _instant(columns.occurred_at),
            "received_at": place.received_at,
            "restricted": kept.conflict or self._part.restricted.has(place.seq, columns.flags),
            "leaf_hash": canonical.b64(leaf_hash(entry.data)),
            "held": bool(self._held.of(place.seq, columns, record)),
            "keep_until": None if kept.keep_until is None else leaf.instant(kept.keep_until),
            "rules": list(kept.rules),
        }


def _proved(vault: Vault, ledger: UUID, chosen: Selection) -> Iterator[Entry]:
    """Yield entries whose leaf is under the signed checkpoint."""
    note = vault.checkpoints.note(ledger)
    if note is None:
        raise Forked("the checkpoint outside the database is missing", str(ledger))
    positions = list(chosen)
    for first in range(0, len(positions), _PAGE):
        part = positions[first : first + _PAGE]
        proofs = proving.prove(vault, ledger, part, note)
        for entry in matching.entries(vault, ledger, Selection.of(part)):
            if proofs[entry.leaf.seq][0] != entry.data:
                raise Modified("the leaf changed while it was read", str(ledger), entry.leaf.seq)
            yield entry


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    told = zipfile.ZipInfo(name, _DAY_ONE)
    told.external_attr = 0o600 << 16
    told.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(told, content)


def _instant(us: int | None) -> str | None:
    return None if us is None else leaf.instant(us // 1_000_000)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
