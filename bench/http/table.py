"""The document ``docs/benchmarks-service.md``: results as Markdown, with the machine and the day they belong to."""

from __future__ import annotations

from bench import document, table
from bench.http.results import CONNECTIONS, GOAL, Results, Singles
from bench.measure import ratios, spread

_HOW = """\
Service, database and load are processes of their own on one machine, loopback between them, every commit durable. The
load process keeps N connections alive; each sends its next record when it has the answer to its last, every record has
a fresh id, every answer must be a 201 that holds a receipt (of the plain handler: the id). Latency is from the first
byte sent to the last received. A cell is the median of the rounds with the lowest and the highest in brackets; rounds
are interleaved and ratios are taken round by round. Processor time is that of all processes of a part, a record.
"Fsyncs" are those of PostgreSQL's log, as its statistics had them right after the load; the vault also forces its own
checkpoint file once a commit.

The plain handler is Litestar on granian with as many workers, a connection pool, the same check of a key, and one
statement a request, `INSERT INTO plain (id, body)`, that commits by itself. It checks nothing else, seals nothing,
proves nothing. The library path is `reasonvault ingest` with two sealing processes, in the same run, on the same
server; it writes no receipts, so the batch route stands beside it with `Prefer: return=minimal`, and with receipts.

Memory is the proportional share of all the service's processes, so that a page that several share counts once, under
steady load at the given number of connections; growth compares the last tenth with the one after the first quarter."""


def spell(found: Results) -> str:
    """Return the whole document."""
    told = document.facts(
        found.day,
        found.machine,
        found.settings,
        Records=f"{found.records}; {found.mean_bytes:,.0f} bytes each on average",
        Workers=str(found.workers),
        Rounds=str(found.rounds),
    )
    sections = [
        document.goals(found.goals()),
        ("One record a request", _rates(found)),
        (f"What a request costs, {GOAL} connections", _costs(found)),
    ]
    if found.batches:
        sections.append(("Batches", _batches(found)))
    sections.append(("One record opened, its access entry committed first", _reads(found)))
    if found.soak is not None:
        sections.append(("Memory", _memory(found)))
    return document.spell("Benchmarks of the service", "scripts/bench http --write", told, sections, _HOW)


def _rates(found: Results) -> str:
    titles = ["", "connections", "requests/s", "x plain handler", "p50 ms", "p99 ms", "p99.9 ms", "worst ms"]
    rows = []
    for connections in CONNECTIONS:
        for line in (found.ours, found.rival):
            turns = line.turns.get(connections, [])
            if not turns:
                continue
            loads = [turn.load for turn in turns]
            rows.append(
                [
                    line.name,
                    str(connections),
                    table.cell(spread([load.rate for load in loads]), ",.0f"),
                    table.cell(found.against_rival(connections), ".2f") if line is found.ours else "1.00",
                    *(
                        table.cell(spread([1000 * value for value in values]), ".1f")
                        for values in zip(*((load.p50, load.p99, load.p999, load.worst) for load in loads), strict=True)
                    ),
                ]
            )
    return table.markdown(titles, rows)


def _costs(found: Results) -> str:
    titles = ["", "service CPU us", "PostgreSQL CPU us", "load CPU us", "WAL bytes", "fsyncs"]
    return table.markdown(titles, [_cost(line) for line in (found.ours, found.rival)])


def _cost(line: Singles) -> list[str]:
    turns = line.turns[GOAL]
    counts = [turn.load.requests for turn in turns]

    def a_request(values: list[float | None], scale: float, form: str) -> str:
        known = [scale * value / count for value, count in zip(values, counts, strict=True) if value is not None]
        return f"{spread(known).median:{form}}" if known else "-"

    return [
        line.name,
        a_request([turn.server_cpu for turn in turns], 1e6, ",.0f"),
        a_request([turn.database_cpu for turn in turns], 1e6, ",.0f"),
        a_request([turn.load.cpu for turn in turns], 1e6, ",.0f"),
        a_request([float(turn.wal_bytes) for turn in turns], 1, ",.0f"),
        a_request([turn.fsyncs for turn in turns], 1, ".3f"),
    ]


def _batches(found: Results) -> str:
    titles = ["", "records/s", "x library", "client CPU us"]
    rows = []
    if found.library:
        rows.append(["library, 2 sealing processes", table.cell(spread(found.library), ",.0f"), "1.00", ""])
    for batch in found.batches:
        against = table.cell(ratios(batch.rates, found.library), ".2f") if found.library else "-"
        cpu = spread([1e6 * reading.cpu / reading.records for reading in batch.readings]).median
        rows.append([batch.name, table.cell(spread(batch.rates), ",.0f"), against, f"{cpu:,.0f}"])
    return table.markdown(titles, rows)


def _reads(found: Results) -> str:
    if not found.reads:
        return f"Not run: {found.not_read}."
    titles = ["connections", "opened/s", "p50 ms", "p99 ms", "worst ms"]
    row = ["1", table.cell(spread([load.rate for load in found.reads]), ",.0f")]
    for values in zip(*((load.p50, load.p99, load.worst) for load in found.reads), strict=True):
        row.append(table.cell(spread([1000 * value for value in values]), ".1f"))
    return table.markdown(titles, [row])


def _memory(found: Results) -> str:
    soak = found.soak
    assert soak is not None
    titles = ["minutes", "connections", "requests/s", "requests", "first MB", "settled MB", "last MB", "MB an hour"]
    first, settled, last = soak.samples[0], soak.settled[0], soak.samples[-1]
    row = [
        f"{last.at / 60:.0f}",
        str(soak.connections),
        f"{soak.load.rate:,.0f}",
        f"{soak.load.requests:,}",
        *(f"{sample.size / 1e6:,.0f}" for sample in (first, settled, last)),
        f"{soak.slope * 3600 / 1e6:+,.1f}",
    ]
    return table.markdown(titles, [row])
