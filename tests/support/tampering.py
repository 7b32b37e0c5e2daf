"""What somebody who owns the database can do to it, and what verification must answer.

A `Crime` is committed against a vault whose rows and home are remembered, so that every one of them can be undone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from click.testing import Result

from tests.support.decisions import decision, spelled
from tests.support.vault import Installation
from vault.core import canonical, packing
from vault.core.tree import Frontier, leaf_hash
from vault.verdict import Depth, LedgerReport, Verdict, worst


class Found(NamedTuple):
    """One fault as a test expects it. ``seq`` None means the ledger as a whole; ``last`` ends a range."""

    verdict: Verdict
    ledger: str
    seq: int | None
    last: int | None = None


def modified(ledger: str, *seqs: int) -> set[Found]:
    """Return what is expected when entries were edited."""
    return {Found(Verdict.MODIFIED, ledger, seq) for seq in seqs}


def missing(ledger: str, first: int | None, last: int | None = None) -> set[Found]:
    """Return what is expected when a stretch of entries is gone; without positions, the whole ledger."""
    return {Found(Verdict.MISSING, ledger, first, last)}


def forked(ledger: str, *seqs: int | None) -> set[Found]:
    """Return what is expected when the database tells another history."""
    return {Found(Verdict.FORKED, ledger, seq) for seq in seqs}


@dataclass(frozen=True)
class Crime:
    """One attack on ``site``. ``names`` are the ledgers' names before it."""

    site: Installation
    names: dict[UUID, str]

    @classmethod
    def against(cls, site: Installation) -> Crime:
        """Learn the ledgers' names while they are still true."""
        with psycopg.connect(site.database.superuser_dsn) as connection:
            found = connection.execute("SELECT ledger_id, name FROM vault.ledger").fetchall()
        return cls(site, dict(found))

    def uuid(self, name: str) -> UUID:
        """Return the uuid that a ledger had before the attack."""
        return next(ledger for ledger, known in self.names.items() if known == name)

    def place(self, name: str) -> Path:
        """Return the directory of a ledger's checkpoint."""
        return self.site.home / "checkpoints" / str(self.uuid(name))

    def sql(self, statement: str, *parameters: object) -> None:
        """Run a statement as somebody whom nothing stops; it must touch at least one row."""
        with self.site.tampering() as connection:
            assert connection.execute(statement, parameters).rowcount > 0

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        with psycopg.connect(self.site.database.superuser_dsn) as connection:
            return connection.execute(statement, parameters).fetchall()

    def edit(self, table: str, name: str, seq: int, assignment: str, *parameters: object) -> None:
        """Run ``UPDATE ... SET assignment`` on one entry's row."""
        self.sql(
            f"UPDATE vault.{table} SET {assignment} WHERE ledger_id = %s AND seq = %s",
            *parameters,
            self.uuid(name),
            seq,
        )

    def swap(self, name: str, column: str, one: int, other: int) -> None:
        """Swap a column of ``sealed`` between two entries of a ledger."""
        self.sql(
            f"""UPDATE vault.sealed s SET {column} = o.{column} FROM vault.sealed o
                WHERE s.ledger_id = %s AND o.ledger_id = s.ledger_id
                  AND (s.seq, o.seq) IN ((%s, %s), (%s, %s))""",
            *(self.uuid(name), one, other, other, one),
        )

    def delete(self, name: str, first: int, end: int, tables: tuple[str, ...] = ("entry", "sealed")) -> None:
        """Delete the rows of positions ``first`` up to but without ``end``."""
        with self.site.tampering() as connection:
            for table in tables:
                connection.execute(
                    f"DELETE FROM vault.{table} WHERE ledger_id = %s AND seq >= %s AND seq < %s",
                    (self.uuid(name), first, end),
                )

    def drop(self, name: str) -> None:
        """Delete every row of a ledger from every table."""
        with self.site.tampering() as connection:
            for table in ("sealed", "entry", "epoch", "key_group", "head", "ledger"):
                connection.execute(f"DELETE FROM vault.{table} WHERE ledger_id = %s", (self.uuid(name),))

    def leaves(self, name: str) -> list[bytes]:
        """Return a ledger's leaves."""
        with psycopg.connect(self.site.database.superuser_dsn) as connection:
            rows = connection.execute(
                "SELECT leaf FROM vault.entry WHERE ledger_id = %s ORDER BY seq", [self.uuid(name)]
            )
            return [packing.unpack(bytes(row[0])) for row in rows]

    def put_leaf(self, name: str, seq: int, leaf: bytes) -> None:
        """Store other leaf bytes at a position that is taken."""
        self.edit("entry", name, seq, "leaf = %s", packing.pack(leaf))

    def insert_leaf(self, name: str, seq: int, leaf: bytes) -> None:
        """Store a leaf, with the id tag it names, at a position that is free."""
        tag = json.loads(leaf).get("id_tag")
        self.sql(
            "INSERT INTO vault.entry (ledger_id, seq, id_tag, leaf) VALUES (%s, %s, %s, %s)",
            *(self.uuid(name), seq, None if tag is None else canonical.unb64(tag, 16), packing.pack(leaf)),
        )

    def rewrite(self, name: str, first: int, change: Callable[[dict[str, Any]], None]) -> None:
        """Change one leaf and make everything after it agree: every ``prev`` and the head, but no signature."""
        leaves = self.leaves(name)
        leaves[first] = changed(leaves[first], change)
        for seq in range(first + 1, len(leaves)):
            previous = canonical.b64(leaf_hash(leaves[seq - 1]))
            leaves[seq] = changed(leaves[seq], lambda leaf, prev=previous: leaf.update(prev=prev))  # type: ignore[misc]
        for seq in range(first, len(leaves)):
            self.put_leaf(name, seq, leaves[seq])
        self.set_head(name, leaves)

    def append(self, name: str, template: int, **changes: Any) -> None:
        """Add a well-formed leaf made after the one at ``template``, and move the head as the vault would."""
        leaves = self.leaves(name)
        place = {"prev": canonical.b64(leaf_hash(leaves[-1])), "seq": len(leaves)}
        leaves.append(changed(leaves[template], lambda leaf: leaf.update({**changes, **place})))
        self.insert_leaf(name, len(leaves) - 1, leaves[-1])
        self.set_head(name, leaves)

    def set_head(self, name: str, leaves: list[bytes]) -> None:
        """Give a ledger the head that these leaves call for."""
        frontier = Frontier()
        frontier.extend(leaf_hash(leaf) for leaf in leaves)
        self.sql(
            "UPDATE vault.head SET size = %s, last_hash = %s, frontier = %s WHERE ledger_id = %s",
            *(frontier.size, leaf_hash(leaves[-1]), frontier.to_bytes(), self.uuid(name)),
        )

    def expect(self, depth: Depth, faults: set[Found]) -> list[LedgerReport]:
        """Verify: exactly these faults, and the worst of them as the verdict."""
        reports = self.site.audit(depth)
        told = {Found(f.verdict, self._name(f.ledger), f.seq, f.last) for report in reports for f in report.faults}
        assert told == faults, [str(fault) for report in reports for fault in report.faults][:12]
        ranked = sorted((fault.verdict for fault in faults), key=lambda verdict: verdict.rank)
        assert worst(reports) is (ranked[0] if ranked else None)
        return reports

    def verdicts(self, depth: Depth, name: str) -> set[Verdict]:
        """Return what verification says of one ledger."""
        (found,) = (report for report in self.site.audit(depth) if report.ledger == self.uuid(name))
        return set(found.counts)

    def clean(self, depth: Depth) -> list[LedgerReport]:
        """Verify: nothing shows."""
        return self.expect(depth, set())

    @contextmanager
    def nothing_is_signed(self, name: str) -> Iterator[None]:
        """Check that whatever the body tries, a ledger's checkpoint does not move."""
        before = self._note(name)
        yield
        assert self._note(name) == before

    def refused_append(self, name: str = "cn", exit_code: int = Verdict.FORKED.exit_code) -> Result:
        """Try to append a record; the command must end as FORKED, and nothing may be signed."""
        file = self.site.home.with_name("late.jsonl")
        file.write_bytes(spelled(decision(9001)) + b"\n")
        with self.nothing_is_signed(name):
            result = self.site.run("ingest", str(file), "--ledger", name, "--processes", "1")
        assert result.exit_code == exit_code, result.output
        return result

    def refused_reading(self) -> None:
        """Try to open a record; the access cannot be told, so the command must end as FORKED with nothing shown."""
        with self.nothing_is_signed("events"):
            result = self.site.run("show", "dec-3", "--ledger", "cn", "--purpose", "a test")
        assert (result.exit_code, result.stdout) == (Verdict.FORKED.exit_code, ""), result.output

    def _note(self, name: str) -> bytes | None:
        path = self.place(name) / "checkpoint"
        return path.read_bytes() if path.exists() else None

    def _name(self, ledger: UUID) -> str:
        return self.names.get(ledger, str(ledger))


def changed(leaf: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """Return a leaf with some of its fields changed, spelled as canonically as before."""
    document = json.loads(leaf)
    change(document)
    return canonical.encode(document)
