"""The table: results as Markdown, with the machine and the day they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.measure import Peak, Reading, Spread, spread
from bench.results import Goal, Growth, Results

_HOW = """\
Every contender runs in a process of its own and a database of its own, on the same server with the same settings,
every commit durable. Rounds are interleaved, each run starts after a CHECKPOINT, and a cell is the median with the
lowest and the highest in brackets. Ratios are taken round by round, between neighbours in time. Bytes are those of all
tables with indexes and TOAST after VACUUM. The vault's rate includes reading, parsing, the guard, retention, sealing,
chaining, commit and signed checkpoint; receipts are not written. Processor time is that of all processes on either side
of the socket, a record. Memory is the sum of the peaks of the client's processes, pages they share counted in each.

Plain COPY is the limit: one jsonb column, no key, no index, nothing checked, nothing secret. The trigger chain gets its
rows by COPY too and encrypts nothing; `eventsourcing` encrypts under one key for all and chains nothing. Both are
measured at their fastest."""


def spell(found: Results) -> str:
    """Return the whole document."""
    return "\n\n".join(
        [
            "# Benchmarks",
            "Written by `scripts/bench --write`; run it again on your own machine.",
            _facts(found),
            "## Taking records in",
            _contenders(found),
            "## Verifying, one process",
            _verification(found),
            "## Goals",
            goals(found.goals()),
            *(["## Memory and rate by size", _growth(found.growth)] if found.growth else []),
            "## How it is measured",
            _HOW,
        ]
    )


def _facts(found: Results) -> str:
    facts = {
        "Day": found.day.isoformat(),
        "Machine": ", ".join(f"{name} {value}" for name, value in found.machine.items()),
        "PostgreSQL": ", ".join(f"{name} {value}" for name, value in found.settings.items()),
        "Records": f"{found.records}; {found.mean_bytes:,.0f} bytes each on average",
        "Rounds": str(found.rounds),
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _contenders(found: Results) -> str:
    titles = [
        "",
        "records/s",
        "x plain COPY",
        "bytes a record",
        "client CPU us",
        "server CPU us",
        "WAL bytes",
        "memory MB",
    ]
    rows = []
    for line in found.contenders:
        if line.not_run:
            rows.append([line.name, f"not run: {line.not_run}"] + [""] * 6)
            continue
        rows.append(
            [
                line.name,
                cell(spread(line.rates), ",.0f"),
                cell(found.against_plain(line), ".2f"),
                f"{spread(line.sizes).median:,.0f}",
                *_costs(line.readings),
                _megabytes(line.peaks),
            ]
        )
    return markdown(titles, rows)


def _verification(found: Results) -> str:
    titles = ["", "entries/s", "client CPU us", "server CPU us", "memory MB"]
    rows = []
    for line in (found.verify, found.open):
        client, server, _ = _costs(line.readings)
        rows.append([line.name, cell(spread(line.rates), ",.0f"), client, server, _megabytes(line.peaks)])
    return markdown(titles, rows)


def goals(wanted: Sequence[Goal]) -> str:
    """Return what must be reached beside what was found."""
    titles = ["", "found", "must", "aim", ""]
    rows = []
    for goal in wanted:
        form = ",.0f" if goal.must >= 100 else ".2f"
        sign = "<=" if goal.most else ">="
        verdict = "pass" if goal.reached else f"short by {goal.short_by:.0%}"
        rows.append(
            [
                goal.what,
                cell(goal.found, form),
                f"{sign} {goal.must:{form}}",
                f"{sign} {goal.aim:{form}}",
                verdict,
            ]
        )
    return markdown(titles, rows)


def _growth(sizes: Sequence[Growth]) -> str:
    titles = ["records", "ingest/s", "parent MB", "largest worker MB", "verify/s", "verifier MB"]
    rows = []
    for size in sizes:
        ingest, verify = size.ingest_peak, size.verify_peak
        rows.append(
            [
                f"{size.count:,}",
                f"{size.ingest.rate:,.0f}",
                f"{ingest.parent / 1e6:,.0f}" if ingest else "-",
                f"{ingest.largest_child / 1e6:,.0f}" if ingest else "-",
                f"{size.verify.rate:,.0f}",
                f"{verify.parent / 1e6:,.0f}" if verify else "-",
            ]
        )
    return markdown(titles, rows)


def _costs(readings: Sequence[Reading]) -> list[str]:
    """Return processor microseconds a record of client and server, and bytes of write-ahead log."""
    client = spread([one.client_cpu / one.records for one in readings]).median
    server = [one.server_cpu / one.records for one in readings if one.server_cpu is not None]
    log = spread([one.wal_bytes / one.records for one in readings]).median
    return [f"{client * 1e6:,.0f}", f"{spread(server).median * 1e6:,.0f}" if server else "-", f"{log:,.0f}"]


def _megabytes(peaks: Sequence[Peak]) -> str:
    return f"{max(peak.total for peak in peaks) / 1e6:,.0f}" if peaks else "-"


def cell(found: Spread, form: str) -> str:
    """Return the median, with both ends where they differ."""
    middle, low, high = (f"{value:{form}}" for value in found)
    return middle if low == high else f"{middle} ({low}..{high})"


def markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table, its first column flush left."""
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
