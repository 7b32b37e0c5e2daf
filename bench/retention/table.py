"""The document ``docs/benchmarks-retention.md``: results as Markdown, with the machine and the day they belong to."""

from __future__ import annotations

from collections.abc import Sequence

from bench import document, table
from bench.retention.pace import Latency
from bench.retention.results import KEPT, SPACE, Disposal, Results, Space
from bench.retention.space import Part
from bench.retention.step import Answer

_HOW = """\
An archive is imported, approved by two people as imports are. Three tenths of its records were due long ago. Two lie
where an archive has its oldest records, at the beginning: one is destroyed alone, the next one beside appends. The
third is spread evenly over the rest, which is the hard case: every page loses some rows, and whoever looks at the due
reads nearly all of the ledger's leaves. Every verb runs in a process of its own as its command would run it, with its
own number of workers, on a real server with every commit durable. Nobody waits for people: cooling-off is set to
nothing.

In use are the bytes of all pages of the vault's tables, indexes and TOAST tables less what each page's own header calls
free, after a plain VACUUM: room that new records fill, while the files keep their size. After VACUUM FULL, which was
run on copies of the database, files hold nothing else. Both are compared with the same database before the disposal,
treated the same.

Appends are single records over HTTP at a steady rate that does not depend on the answers, latency from the moment an
append is due, over more connections than are needed. "Before" is the same load on the same service right
before the plan; "meanwhile" is from the beginning of the run to its end. Service, database, disposal and load share
the machine.

Memory is the sum of the peaks of a verb's processes, pages they share counted in each."""


def spell(found: Results) -> str:
    """Return the whole document."""
    told = document.facts(
        found.day,
        found.machine,
        found.settings,
        Records=f"{found.records}; {found.mean_bytes:,.0f} bytes each on average",
        Import=f"{found.ingest.reading.rate:,.0f} records/s",
    )
    disposals = [found.small, found.large, found.beside, found.spread]
    sections = [
        document.goals(found.goals()),
        ("Space", _totals(found.space)),
        ("", _arithmetic(found.space)),
        ("", _parts(found.space)),
        ("Seconds of a disposal", _disposals(disposals)),
        ("Where they go", _seconds(disposals)),
        ("Appends beside the run of a disposal", _appends(found)),
        ("Moving record keys to another group", _moves(found.moves)),
        ("Verifying, one process, without keys", _verify(found)),
    ]
    return document.spell("Benchmarks of retention", "scripts/bench retention --write", told, sections, _HOW)


def _totals(space: Space) -> str:
    rows = []
    for words, before, after, saved in (
        ("in use after VACUUM", space.before.held, space.after.held, space.saved),
        ("in files after VACUUM", space.before.size, space.after.size, None),
        ("in files after VACUUM FULL", space.full_before.size, space.full_after.size, space.full_saved),
    ):
        saved = 100 * (1 - after / before) if saved is None else saved
        rows.append([words, _mb(before), _mb(after), f"{saved:.2f}", f"{before / space.records:,.0f}"])
    return table.markdown(["", "before MB", "after MB", "% less", "bytes a record before"], rows)


def _arithmetic(space: Space) -> str:
    kept, freed = space.kept_a_record, space.freed_a_record
    whole = space.full_before.held / space.records
    share = space.destroyed / space.records
    needed = SPACE / 100 / share  # of what a record takes
    least = needed / (1 - needed) * (whole - freed) if needed < 1 else 0.0
    return (
        f"After VACUUM FULL a record takes {whole:,.0f} bytes. {kept:,.0f} of them are its leaf, the leaf's indexes and"
        f" its part of the tree, which stay for ever. A destroyed record gave {freed:,.0f} back, {freed / whole:.1%} of"
        f" what it took, so a disposal of {share:.0%} of such records gives back {share * freed / whole:.2%} at the"
        f" most, however its tables are vacuumed. For {SPACE:.0f} % a record would have to give back {least:,.0f} bytes"
        f" beside such a leaf."
    )


def _parts(space: Space) -> str:
    titles = ["table", "part", "before", "after", "freed of each destroyed", "after VACUUM FULL, before", "after"]
    rows = []
    small = 0.005 * space.before.held  # what is less than half a percent says nothing
    for part in sorted(space.before.parts, key=lambda one: (one.table not in KEPT, one.table, -one.held)):
        if part.held < small:
            continue
        after, full, full_after = (
            stored.part(part.table, part.name) for stored in (space.after, space.full_before, space.full_after)
        )
        rows.append(
            [
                part.table,
                part.name,
                *(_each(one, space.records) for one in (part, after)),
                f"{(part.held - after.held) / space.destroyed:,.0f}",
                *(_each(one, space.records) for one in (full, full_after)),
            ]
        )
    return "Bytes in use, a record of the ledger as it was before:\n\n" + table.markdown(titles, rows)


def _each(part: Part, records: int) -> str:
    return f"{part.held / records:,.1f}"


def _disposals(disposals: Sequence[Disposal]) -> str:
    titles = ["destroyed", "of", "verb", "seconds", "records/s", "client CPU s", "server CPU s", "WAL MB", "memory MB"]
    rows = []
    for one in disposals:
        for verb, step in (("plan", one.plan), ("approve, twice", one.approve), ("run", one.run)):
            rows.append([one.name, f"{one.records:,}", verb, *_step(step)])
        rows.append([one.name, f"{one.records:,}", "together", f"{one.seconds:,.1f}", *[""] * 5])
    return table.markdown(titles, rows)


def _step(step: Answer) -> list[str]:
    reading = step.reading
    return [
        f"{reading.seconds:,.1f}",
        f"{reading.rate:,.0f}",
        f"{reading.client_cpu:,.1f}",
        "-" if reading.server_cpu is None else f"{reading.server_cpu:,.1f}",
        _mb(reading.wal_bytes),
        "-" if step.memory is None else _mb(step.memory.total),
    ]


def _seconds(disposals: Sequence[Disposal]) -> str:
    titles = ["verb", "part", *(one.name for one in disposals)]
    rows = []
    for verb in ("plan", "approve", "run"):
        steps: list[Answer] = [getattr(one, verb) for one in disposals]
        rows += [[verb, label, *(f"{step.seconds[label]:,.2f}" for step in steps)] for label in steps[0].seconds]
    return table.markdown(titles, rows)


def _appends(found: Results) -> str:
    titles = ["", "appends/s", "appends", "p50 ms", "p99 ms", "worst ms"]
    appends = found.appends

    def row(words: str, one: Latency) -> list[str]:
        return [
            words,
            f"{appends.rate:,.0f}",
            f"{one.appends:,}",
            *(f"{1000 * value:,.1f}" for value in (one.p50, one.p99, one.worst)),
        ]

    before, during = appends.before, appends.during
    times = [f"{after / value:.2f}" for after, value in zip(during[1:], before[1:], strict=True)]
    return table.markdown(titles, [row("before", before), row("meanwhile", during), ["ratio", "", "", *times]])


def _moves(moves: Sequence[tuple[int, Answer]]) -> str:
    titles = ["processes", "groups", "records", "seconds", "records/s", "client CPU s", "server CPU s", "WAL MB", "MB"]
    rows = [[str(many), f"{one.groups}", f"{one.reading.records:,}", *_step(one)] for many, one in moves]
    return table.markdown(titles, rows)


def _verify(found: Results) -> str:
    before, after = found.verify
    rows = [
        [words, f"{one.reading.records:,}", *_step(one)[:4]]
        for words, one in (("nothing destroyed", before), (f"{found.large.destroyed:,} destroyed", after))
    ]
    rows.append(["ratio of seconds", "", f"{after.reading.seconds / before.reading.seconds:.2f}", "", "", ""])
    return table.markdown(["", "entries", "seconds", "entries/s", "client CPU s", "server CPU s"], rows)


def _mb(size: float) -> str:
    return f"{size / 1e6:,.1f}"
