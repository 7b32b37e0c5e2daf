"""``import``: old records that come in with their own dates, once somebody else approved them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from retention import imports
from retention.imports import Run, Told
from service.commands.access import acting, logged_in
from service.commands.moments import instant
from service.commands.words import WORDS
from service.printing import LinesOut, ingested, refused_path
from service.terminal import Commands, progress, say
from vault import ledgers
from vault.context import Vault
from vault.core.canonical import unb64
from vault.settling import Status

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("import", cls=Commands)
def imported() -> None:
    """Old records: kept from the day they occurred on, not from that of their receipt. Two people decide."""


@imported.command("request")
@click.argument("file", type=_FILE)
@click.option("--ledger", "name", required=True, help="The ledger they go into.")
@click.option("--producer", required=True, help="Our id of who sent them, a word.")
@click.option("--reason", required=True, type=WORDS, help="Why they come so late; sealed into the request.")
@click.option("--user", help="Your local account, a compliance officer's; without it, the passphrase's holder asks.")
def request_import(file: Path, name: str, producer: str, reason: str, user: str | None) -> None:
    """Ask for an import of exactly this file: JSON lines, plain, .gz or .zst. A compliance officer approves it."""
    with acting(user) as vault:
        told = imports.request(vault, ledgers.get(vault, name), file, producer, reason, os.urandom)
        _say(vault, [told])


@imported.command("approve")
@click.argument("import_id")
@click.option("--user", "name", required=True, help="Your local account, a compliance officer's.")
def approve_import(import_id: str, name: str) -> None:
    """Approve an import that somebody else asked for."""
    with logged_in(name) as vault:
        _say(vault, [imports.approve(vault, import_id)])


@imported.command("list")
@click.option("--user", "name", help="Your local account; without it, the passphrase's holder looks.")
def list_imports(name: str | None) -> None:
    """List the imports: what they bring in, and who asked for and approved them. Looking is an event."""
    with acting(name) as vault:
        _say(vault, imports.listing(vault), many=True)


@imported.command("run")
@click.argument("import_id")
@click.argument("file", type=_FILE)
@click.option("--refused", "refused_file", type=click.Path(path_type=Path), help="Write refused lines here.")
@click.option("--processes", type=click.IntRange(1, 64), default=min(os.cpu_count() or 1, 8), help="Sealing processes.")
@click.option("--user", "name", help="Your local account; without it, the passphrase's holder runs it.")
def run_import(import_id: str, file: Path, refused_file: Path | None, processes: int, name: str | None) -> None:
    """Take the records of an approved import in, from the very file that was approved.

    Exits 0 when every line is in the vault, 3 when a line was refused or conflicted. A run that was cut short is
    completed by running it again; one that ended cannot be run again.
    """
    refused_file = refused_path(str(file), refused_file, None)
    counts = dict.fromkeys((status.value for status in Status), 0)
    going: Run | None = None
    with (
        acting(name) as vault,
        progress("import") as show,
        LinesOut(refused_file, sys.stderr) as refused,
    ):
        names = {str(one.id): one.row.name for one in ledgers.listing(vault)}
        try:
            for going, batch in imports.run(vault, import_id, file, processes=processes):
                for result in batch.results if batch is not None else ():
                    counts[result.status.value] += 1
                    if result.status in (Status.REFUSED, Status.CONFLICTING):
                        refused.document({k: getattr(result, k) for k in ("line", "path", "code", "reason")})
                show(sum(counts.values()), going.asked.count)
        finally:
            if going is not None:
                into = names.get(going.asked.ledger, going.asked.ledger)
                words = ingested(counts, into, refused.path if refused.written else None)
                say(words, {"import": import_id, "done": going.asked.done} | counts, err=not going.asked.done)
    if counts["refused"] or counts["conflicting"]:
        sys.exit(3)


def _say(vault: Vault, found: list[Told], *, many: bool = False) -> None:
    names = {str(one.id): one.row.name for one in ledgers.listing(vault)}
    rows = [
        {
            "import": told.asked.id,
            "state": _state(told),
            "ledger": names.get(told.asked.ledger, told.asked.ledger),
            "producer": told.asked.producer,
            "sha256": unb64(told.asked.sha256, 32).hex(),
            "count": told.asked.count,
            "first": instant(told.asked.first),
            "last": instant(told.asked.last),
            "requested_by": told.asked.requested_by,
            "approved_by": told.asked.approved_by,
            "reason": told.reason,
            "file": told.file,
        }
        for told in found
    ]
    words = [
        f"{row['import']}  {row['state']:<9}  {row['ledger']}  {row['producer']}  {row['count']:,} lines  "
        f"{row['first']} to {row['last']}  {_sealed(str(row['file']), str(row['reason']))}\n  SHA-256 {row['sha256']}"
        for row in rows
    ]
    say("\n".join(words) or "there are no imports", rows if many else rows[0])


def _sealed(file: str, reason: str) -> str:
    return f"{file}: {reason}" if file or reason else "file and reason sealed"


def _state(told: Told) -> str:
    if told.asked.done:
        return "done"
    return "requested" if told.asked.approved_by is None else "approved"
