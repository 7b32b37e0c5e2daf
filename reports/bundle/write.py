"""Writing a bundle: step 4 of reports.bundle. The access was committed before; nothing here decides who may see what.

subject ledger      checkpoint, leaves, nodes, records
events ledger       what concerns them, under the events' own checkpoint, which covers the access event
outside             what witnesses and authorities said of the events
manifest            what all of it is, signed
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec

from reports.bundle.events import KEYS, About, Picked, pick
from reports.bundle.outside import write_consistency, write_outside
from reports.bundle.records import Item, Opening, Rule
from reports.bundle.scope import Scope
from reports.bundle.tree import Proved, write_ledger
from reports.bundle.zip import Archive
from vault import leaves, selections
from vault.context import Vault
from vault.core import canonical, packing, signer
from vault.core import selection as sets
from vault.core.checkpoint import Checkpoint
from vault.core.errors import Forked, Modified
from vault.core.note import encode_base64
from vault.core.selection import Selection
from vault.core.tree import leaf_hash
from vault.db import store
from vault.db.engine import transact, translated
from vault.ledgers import Ledger
from vault.restricting import Restricted

VERSION: Final = "reasonvault-bundle/1"
_PAGE: Final = 500
_MOST_TAGS: Final = 200_000
_TAG = re.compile(rb'"id_tag":"([A-Za-z0-9_-]{22})"')


@dataclass(frozen=True, slots=True)
class Opened:
    """What was decided about the access, and committed. ``grant`` is "" for whoever holds the passphrase."""

    bundle: str
    access: int
    selection: str
    full: bool
    grant: str
    duty: str
    restricted: Restricted


@dataclass(frozen=True, slots=True)
class Made:
    """What is in the file. ``fingerprint`` is of the key that signed the manifest, hex."""

    states: Counter[str]
    fingerprint: str


def write(
    vault: Vault,
    ledger: Ledger,
    scope: Scope,
    chosen: Selection,
    checkpoint: Checkpoint,
    note: str,
    opened: Opened,
    file: Path,
    processes: int,
    progress: Callable[[str, int, int], None],
) -> Made:
    """Write the file.

    Raises:
        Modified, Missing, Forked: something is not what was promised.
        OSError: the disk's.
    """
    at = datetime.fromtimestamp(vault.clock() // 1_000_000, UTC)
    writing = _Writing(vault, ledger, chosen, checkpoint, opened)
    with Archive(file, at) as archive:
        writing.subject(archive, note, scope, processes, progress)
        told = writing.events(archive, whole=scope.kind == "whole")
        document = {
            "bundle": VERSION,
            "id": opened.bundle,
            "tenant": vault.tenant,
            "made_at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "made_by": vault.actor.name,
            "break_glass": vault.actor.break_glass,
            "grant": opened.grant,
            "fields": "full" if opened.full else "masked",
            "scope": scope.document(),
            "access": opened.access,
            "events": str(vault.events),
            "ledgers": writing.entries,
            **told,
        }
        for name in ("README.txt", "verify.py"):
            archive.add(name, resources.files("reports").joinpath("standalone", name).read_bytes())
        files = [{"name": one.name, "bytes": one.size, "sha256": one.sha256.hex()} for one in archive.members]
        content = msgspec.json.format(msgspec.json.encode(document | {"files": files})) + b"\n"
        archive.add("manifest.json", content)
        digest = encode_base64(sha256(content).digest())
        archive.add("manifest.note", vault.checkpoints.attest(vault.events, f"{VERSION}\n{digest}\n").encode())
    key = vault.checkpoints.in_force(vault.events)[0]
    return Made(writing.states, sha256(key.public_key).hexdigest())


class _Writing:
    """The parts, in their order.

    Attributes:
        entries: what the manifest says of each ledger.
    """

    def __init__(self, vault: Vault, ledger: Ledger, chosen: Selection, checkpoint: Checkpoint, opened: Opened) -> None:
        self.states: Counter[str] = Counter()
        self.entries: list[dict[str, Any]] = []
        self._vault, self._ledger, self._chosen = vault, ledger, chosen
        self._checkpoint, self._opened = checkpoint, opened
        self._erased: list[int] = []
        self._disposals: set[str] = set()
        self._tags: set[str] | None = set() if len(chosen) <= _MOST_TAGS else None

    def subject(
        self, archive: Archive, note: str, scope: Scope, processes: int, progress: Callable[[str, int, int], None]
    ) -> None:
        """Write the ledger that the records are in."""
        place = self._ledger.id
        archive.add(f"ledgers/{place}/checkpoint", note.encode())
        with_genesis = Selection(((0, 0),)) | self._chosen
        proved = write_ledger(self._vault, archive, place, self._checkpoint, with_genesis, self._see)
        name = self._ledger.row.name
        rule = Rule(self._opened.full, self._opened.duty, scope.conversation, self._opened.restricted)
        with (
            archive.file(f"ledgers/{place}/records.jsonl") as lines,
            Opening(self._vault, self._ledger, rule, processes=processes) as opening,
        ):
            for row in self._rows(proved):
                for done in opening.take(row):
                    lines.write(done.lines)
                    self._count(done.states)
                    progress(name, sum(self.states.values()), len(self._chosen))
            for done in opening.finish():
                lines.write(done.lines)
                self._count(done.states)
        self._add_entry(place, name, self._checkpoint, len(proved), sum(self.states.values()))

    def events(self, archive: Archive, *, whole: bool) -> dict[str, Any]:
        """Write the events ledger, and what its events name; return what others said of it, for the manifest."""
        vault, place, events = self._vault, self._ledger.id, self._vault.events
        note = vault.checkpoints.note(events) or ""
        checkpoint = vault.checkpoints.open(events, note)
        if checkpoint.size <= self._opened.access:
            raise Forked("the access event is not under the events' checkpoint", str(events), self._opened.access)
        erased, tags = Selection.of(self._erased), None if self._tags is None else frozenset(self._tags)
        about = About(place, self._checkpoint.size, self._chosen, whole, tags, erased, frozenset(self._disposals))
        picked = pick(vault, checkpoint, about)
        for told in picked.anchors:
            write_consistency(vault, archive, place, told.facts["size"], self._checkpoint)
        self._write_sets(archive, picked)
        archive.add(f"ledgers/{events}/checkpoint", note.encode())
        proved = write_ledger(vault, archive, events, checkpoint, Selection.of(picked.positions))
        self._add_entry(events, "events", checkpoint, len(proved), 0)
        timed = [one.seq for one in (*picked.anchors, *picked.of("disposal.intended", *KEYS))]
        return write_outside(vault, archive, events, checkpoint, [*timed, self._opened.access])

    def _see(self, data: bytes) -> None:
        found = _TAG.search(data) if self._tags is not None else None
        if found is not None and self._tags is not None:
            self._tags.add(found[1].decode())

    def _count(self, states: list[tuple[int, str, str]]) -> None:
        for seq, state, disposal in states:
            self.states[state] += 1
            if state == "erased":
                self._erased.append(seq)
                self._disposals.add(disposal)

    def _rows(self, proved: Proved) -> Iterator[Item]:
        """Yield the entries in scope; their leaves are those that were proved."""
        count, place = 0, self._ledger.id
        for row in self._stored():
            if row.leaf is None or leaf_hash(packing.unpack(row.leaf)) != proved.hash_of(row.seq):
                raise Modified("the leaf changed while it was read", str(place), row.seq)
            count += 1
            yield Item(row.seq, row.leaf, row.sealed)
        if count != len(self._chosen):
            raise Modified("the entries changed while they were read", str(place))

    def _stored(self) -> Iterator[store.AuditRow]:
        ranges, place = self._chosen.ranges, self._ledger.id
        if len(ranges) == 1 and len(self._chosen) > _PAGE:
            (first, last), engine = ranges[0], self._vault.engine
            with translated(), engine.connect() as connection:
                for row in store.stream_entries(connection, place, first):
                    if row.seq > last:
                        return
                    yield row
            return
        page: list[int] = []
        for seq in self._chosen:
            page.append(seq)
            if len(page) == _PAGE:
                yield from self._fetched(page)
                page = []
        yield from self._fetched(page)

    def _fetched(self, seqs: list[int]) -> list[store.AuditRow]:
        place = self._ledger.id
        found = transact(self._vault.engine, lambda connection: list(store.fetch_entries(connection, place, seqs)))
        return sorted(found, key=lambda row: row.seq)

    def _add_entry(self, place: UUID, name: str, checkpoint: Checkpoint, leaves_: int, records: int) -> None:
        keys = self._vault.checkpoints
        spelled = [
            {"key": str(key)} | ({} if one.state != "retired" else {"until": one.sizes.get(str(place), 0)})
            for one, key in zip(keys.signers(), signer.keys(keys.origin(place), keys.signers()), strict=True)
        ]
        self.entries.append(
            {
                "ledger": str(place),
                "name": name,
                "origin": checkpoint.origin,
                "size": checkpoint.size,
                "root": encode_base64(checkpoint.root),
                "leaves": leaves_,
                "records": records,
                "keys": spelled,
            }
        )

    def _write_sets(self, archive: Archive, picked: Picked) -> None:
        """Write the sets of positions that events name, and the manifests that disposals signed for."""
        place = str(self._ledger.id)
        named = {self._opened.selection}
        for told in picked.of("disposal.destroying", "keys.moved", "hold.inherited"):
            named.add(told.facts["selection"])
        for told in picked.of("hold.placed"):
            pairs = zip(told.facts["ledgers"], told.facts["selections"], strict=True)
            named |= {digest for ledger, digest in pairs if ledger == place}
        for digest in sorted(named):
            made = selections.load(self._vault, self._ledger.id, digest)
            archive.add(f"ledgers/{place}/selections/{digest}.txt", sets.text(self._ledger.id, made))
        for told in picked.of("disposal.planned"):
            with archive.file(f"ledgers/{place}/manifests/{told.facts['disposal']}.txt") as file:
                file.write(f"reasonvault manifest/1\n{place}\n".encode())
                planned = selections.load(self._vault, self._ledger.id, told.facts["selection"])
                for seq, _, hashed in leaves.signed(self._vault, self._ledger.id, list(planned)):
                    file.write(b"%d %b\n" % (seq, canonical.b64_bytes(hashed)))
