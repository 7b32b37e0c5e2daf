"""A file on its way into a vault, and what must be true of it whenever something comes in between."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.decisions import as_file, decisions
from tests.support.vault import RECORDS, Installation
from vault.core import leaf
from vault.core.leaf import RecordLeaf
from vault.verdict import Depth, worst

SIZE = 1 + RECORDS["cn"]  # entries of the ledger "cn" before


class Ingest:
    """A file of ``count`` new records and one bad line, on its way into the ledger "cn"."""

    def __init__(self, site: Installation, folder: Path, count: int) -> None:
        self.site, self.count = site, count
        self.file, self.receipts = folder / "in.jsonl", folder / "receipts.jsonl"
        self.lines = [*decisions(count, first=500), (9999, b"{}")]
        self.file.write_bytes(as_file(self.lines))

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("ingest", str(self.file), "--ledger", "cn", "--receipts", str(self.receipts), "--json")

    def reported(self) -> dict[int, RecordLeaf]:
        """Return the leaf of each line that a receipt was written for. A kill may cut the last one."""
        if not self.receipts.exists():
            return {}
        whole = [json.loads(line) for line in self.receipts.read_text().splitlines(keepends=True) if line[-1] == "\n"]
        places = {one["line"]: leaf.parse(one["receipt"]["leaf"].encode()) for one in whole}
        assert all(isinstance(place, RecordLeaf) for place in places.values())
        return {line: place for line, place in places.items() if isinstance(place, RecordLeaf)}

    def interrupted(self, unsealed: int = 0) -> dict[int, RecordLeaf]:
        """Check the vault as the accident left it; return what had been reported."""
        reports = self.site.audit(Depth.ENVELOPES)
        assert worst(reports) is None, [str(fault) for report in reports for fault in report.faults]
        assert {report.name: report.unsealed for report in reports} == {"cn": unsealed, "events": 0, "sg": 0}
        reported = self.reported()
        assert all(place.seq < self.site.size("cn") for place in reported.values())
        return reported

    def completed(self, before: dict[int, RecordLeaf]) -> dict[str, int]:
        """Run the same file again, check that it is whole, and return the counts it printed."""
        again = self.site.run(*self.arguments)
        assert again.exit_code == 3, again.output
        counts: dict[str, int] = json.loads(again.stdout)
        assert (counts["accepted"] + counts["duplicate"], counts["conflicting"], counts["refused"]) == (
            self.count,
            0,
            1,
        )
        after = self.reported()
        assert sorted(place.seq for place in after.values()) == list(range(SIZE, SIZE + self.count))
        assert all(after[line] == place for line, place in before.items())
        reports = self.site.audit(Depth.OPEN)
        assert worst(reports) is None, [str(fault) for report in reports for fault in report.faults]
        assert {report.name: (report.entries, report.unsealed) for report in reports}["cn"] == (SIZE + self.count, 0)
        return counts
