"""The command line: parse, call one verb, print. Errors become one line and an exit code in one place."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

import click
import msgspec

from retention.keeping import adopted
from service import home as homes
from service import keystore, providers, wiring
from service.commands import (
    access,
    approver,
    bundle,
    checkpoint,
    disposal,
    holds,
    imports,
    keys,
    proof,
    records,
    rekey,
    report,
    requests,
    rules,
    running,
    sample,
    signer,
    succession,
    trace,
    witness,
    work,
)
from service.commands.words import WORDS
from service.printing import (
    LinesOut,
    adoption_document,
    adoption_words,
    ingested,
    ledger_rows,
    ledger_words,
    refused_path,
    verification_document,
    verification_words,
)
from service.terminal import Commands, opened_vault, progress, say
from vault import anchoring, intake, ledgers, lines, reading, receipts
from vault import audit as auditing
from vault.core import canonical, receipt
from vault.core.errors import UsageError, VaultError
from vault.db import migrate
from vault.keys.ring import Ring
from vault.settling import Status
from vault.verdict import Depth, besides_losses, worst


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="reasonvault")
def main() -> None:
    """A vault for the reasoning logs of AI-assisted payments.

    The vault lives in REASONVAULT_HOME (default: your data directory) and opens with the passphrase in
    REASONVAULT_PASSPHRASE_FILE or REASONVAULT_PASSPHRASE, or typed at the terminal.
    """


@main.command()
@click.option("--region", default=wiring.DEFAULT_REGION, show_default=True, help="Where this vault runs, a word.")
@click.option(
    "--origin",
    "host",
    default=wiring.DEFAULT_HOST,
    show_default=True,
    help="First half of checkpoint origins.",
)
@click.option("--keys", "kept", type=click.Choice(["keyfile", "openbao"]), help="Where keys lie; default: keyfile.")
@click.option("--openbao-address", "address", metavar="URL", help="https://HOST:PORT; http for this machine only.")
@click.option("--openbao-mount", "mount", default="transit", show_default=True, help="Path of the transit engine.")
@click.option("--openbao-ca", "ca_file", type=click.Path(path_type=Path), help="PEM certificates to trust instead.")
def init(region: str, host: str, kept: str | None, address: str | None, mount: str, ca_file: Path | None) -> None:
    """Make the vault, or finish making it. Running it again changes nothing."""
    if not canonical.is_word(region) or not region:
        raise UsageError("--region is a word of A-Z a-z 0-9 . _ : / + -")
    if (kept == "openbao") != (address is not None):
        raise UsageError("--keys openbao and --openbao-address belong together")
    home = homes.default_path()
    phrase = homes.passphrase(confirm=not (home / "keys").exists())
    openbao = None if address is None else providers.openbao(address, mount, ca_file)
    new = wiring.initialise(home, phrase, host=host, region=region, openbao=openbao)
    found, custodians = wiring.identity(home), keystore.custodians(home, phrase)
    words = f"{'made a vault' if new else 'the vault is in order'} in {home}"
    if not custodians:
        words += (
            f"\nKeep {home / 'keys'} and the passphrase safe and out of the database's backups:"
            "\nwithout both, every record in this vault is unreadable for ever. No recovery file exists yet:"
            "\n'reasonvault keys recovery export FILE --custodian NAME' makes one."
        )
    document = {"home": str(home), "new": new, "tenant": str(found.tenant), "events": str(found.events)}
    say(words, document | {"custodians": list(custodians)})


@main.group()
def db() -> None:
    """The database: embedded, or the one that DATABASE_URL names."""


@db.command()
def start() -> None:
    """Start the embedded server. Any command does so by itself."""
    server = _embedded()
    server.ensure_running()
    _say_status()


@db.command()
def stop() -> None:
    """Stop the embedded server."""
    _embedded().stop()
    _say_status()


@db.command()
def status() -> None:
    """Say whether the embedded server runs, and where."""
    _say_status()


@db.command("migrate")
def migrate_database() -> None:
    """Bring the database to the schema this version needs."""
    revision = migrate.upgrade(wiring.Database(homes.default_path()).owner_dsn())
    say(f"the schema is at revision {revision}", {"revision": revision})


@db.command()
@click.option("--role", type=click.Choice(["owner", "app"]), default="app", show_default=True)
def dsn(role: str) -> None:
    """Print the connection string of a role, without a password."""
    database = wiring.Database(homes.default_path())
    found = wiring.without_password(database.owner_dsn() if role == "owner" else database.app_dsn())
    say(found, {"role": role, "dsn": found})


@main.group()
def ledger() -> None:
    """Ledgers: one for each tenant and jurisdiction, more where volume asks."""


@ledger.command()
@click.argument("name")
@click.option("--jurisdiction", "jurisdictions", multiple=True, required=True, help="ISO 3166-1 alpha-2; repeat it.")
@click.option("--rule", "rules", multiple=True, help="Id of an optional retention rule to opt into; repeat it.")
def create(name: str, jurisdictions: tuple[str, ...], rules: tuple[str, ...]) -> None:
    """Make a ledger and print the retention rules it lives by."""
    jurisdictions, rules = tuple(dict.fromkeys(jurisdictions)), tuple(sorted(set(rules)))
    with opened_vault() as vault:
        adoption = adopted(wiring.rule_book(vault), jurisdictions, rules)
        made = ledgers.create(vault, name, jurisdictions, rules)
    document = {"ledger": str(made.id), "name": name, "jurisdictions": list(jurisdictions)}
    say(f"ledger {name} {made.id}\n{adoption_words(adoption)}", document | adoption_document(adoption))


@ledger.command("list")
def list_ledgers() -> None:
    """List the ledgers."""
    with opened_vault() as vault:
        found, frozen = ledgers.listing(vault), vault.register.standing().frozen
        rows = ledger_rows(found, frozen, vault.checkpoints)
    say(ledger_words(found, frozen), rows)


@main.command()
@click.argument("file")
@click.option("--ledger", "name", required=True, help="The ledger's name.")
@click.option("--producer", default="local", show_default=True, help="Our id of who sends, a word.")
@click.option("--receipts", "receipts_file", type=click.Path(path_type=Path), help="Write receipts here, JSON lines.")
@click.option("--refused", "refused_file", type=click.Path(path_type=Path), help="Write refused lines here.")
@click.option("--processes", type=click.IntRange(1, 64), default=min(os.cpu_count() or 1, 8), help="Sealing processes.")
def ingest(
    file: str, name: str, producer: str, receipts_file: Path | None, refused_file: Path | None, processes: int
) -> None:
    """Take JSON lines in, plain, .gz or .zst; FILE may be - for standard input.

    Exits 0 when every line is in the vault, 3 when a line was refused or conflicted. Running it again completes a run
    that was cut short, without duplicates.
    """
    if not producer or not canonical.is_word(producer) or len(producer) > 64:
        raise UsageError("--producer is a word of up to 64 of A-Z a-z 0-9 . _ : / + -")
    refused_file = refused_path(file, refused_file, receipts_file)
    counts = dict.fromkeys((status.value for status in Status), 0)
    again: dict[int, tuple[UUID, int]] = {}
    with opened_vault() as vault, _input(file) as stream, progress("ingest") as show:
        into = ledgers.get(vault, name)
        with LinesOut(refused_file, sys.stderr) as refused, LinesOut(receipts_file, None) as given:
            finished = False
            try:
                for batch in intake.ingest(vault, into, lines.numbered(stream), producer, processes=processes):
                    for result in batch.results:
                        counts[result.status.value] += 1
                        if result.status in (Status.REFUSED, Status.CONFLICTING):
                            refused.document({k: getattr(result, k) for k in ("line", "path", "code", "reason")})
                        if result.seq is not None and result.has_receipt_again:
                            again[result.line] = (result.before or into.id, result.seq)
                    if receipts_file is not None:
                        for result, leaf, proof in batch.receipts():
                            given.raw(_receipt(result.line, receipt.issue(leaf, result.opening, proof)))
                    show(sum(counts.values()), None)
                if receipts_file is not None and again:
                    found = receipts.of_several(vault, set(again.values()))
                    for number, place in again.items():
                        given.raw(_receipt(number, found[place]))
                with contextlib.suppress(VaultError):  # what is taken in is; the worker anchors it, or says why not
                    anchoring.anchor(vault)
                finished = True
            finally:
                # Counts of a run that was cut short go to standard error: standard output is the error's.
                words = ingested(counts, name, refused.path if refused.written else None)
                say(words, counts, err=not finished)
    if counts["refused"] or counts["conflicting"]:
        sys.exit(3)


@main.command()
@click.option("--ledger", "name", help="Only this ledger, by name or uuid, and the events that vouch for it.")
@click.option(
    "--depth",
    type=click.Choice([depth.value for depth in Depth]),
    default=Depth.ENVELOPES.value,
    show_default=True,
)
def verify(name: str | None, depth: str) -> None:
    """Verify the vault. Needs the passphrase at depth open only.

    Exits 0 when all holds, 10 MODIFIED, 11 MISSING, 12 FORKED.
    """
    home, wanted = homes.default_path(), Depth(depth)
    ring: Ring | None
    with contextlib.ExitStack() as stack:
        if wanted is Depth.OPEN:
            vault = stack.enter_context(opened_vault())
            parts, ring = (vault.engine, vault.checkpoints, vault.events), vault.ring
        else:
            sealed = stack.enter_context(wiring.open_sealed(home))
            parts, ring = (sealed.engine, sealed.checkpoints, sealed.identity.events), None
        show = stack.enter_context(progress("verify"))
        reports = auditing.audit(
            *parts, wanted, ring=ring, only=name, progress=lambda _name, done, total: show(done, total)
        )
    verdict, fresh = worst(reports), besides_losses(reports)
    words = "\n".join(verification_words(report) for report in reports)
    if verdict is not fresh:
        words += f"\nbesides the losses that are recorded: {fresh.name if fresh else 'OK'}"
    document = {
        "verdict": verdict.name if verdict else "OK",
        "besides_recorded_losses": fresh.name if fresh else "OK",
        "depth": depth,
        "ledgers": [verification_document(report) for report in reports],
    }
    if name is None:
        homes.note_verification(home, verdict.name if verdict else "OK", depth)
    say(f"{words}\n{verdict.name if verdict else 'OK'}", document)
    sys.exit(verdict.exit_code if verdict else 0)


@main.command()
@click.argument("record_id")
@click.option("--ledger", "name", required=True, help="The ledger's name.")
@click.option("--purpose", required=True, type=WORDS, help="Why you open it; goes into the access event.")
@click.option("--user", help="Your local account, to read under a grant; without it, the passphrase's holder reads.")
@click.option("--duty", metavar="WORD", default="", help="The legal duty you open a restricted record for.")
def show(record_id: str, name: str, purpose: str, user: str | None, duty: str) -> None:
    """Open one record: exactly its bytes on standard output, facts on standard error. The access is logged first.

    Under a masked grant, standard output has the record's masked form.
    """
    with access.acting(user) as vault:
        found = reading.read(vault, ledgers.get(vault, name), record_id, purpose, duty=duty)
    masked = None if found.masked is None else msgspec.json.encode(found.masked)
    sys.stdout.buffer.write(found.raw if masked is None else masked)
    sys.stdout.buffer.flush()
    leaf = found.leaf
    document = {
        "ledger": leaf.ledger,
        "seq": found.seq,
        "leaf_hash": canonical.b64(found.leaf_hash),
        "received_at": leaf.received_at,
        "producer": leaf.producer,
        "keep_until": leaf.keep_until or None,
        "group": leaf.group,
        "rules": list(leaf.rules),
        "access_event": found.access,
    }
    shown = document | {"rules": ", ".join(leaf.rules)}
    words = "\n".join(f"{key:<12} {value}" for key, value in shown.items())
    say(f"\n{words}" if sys.stdout.isatty() else words, document, err=True)


def _receipt(line: int, data: bytes) -> str:
    return f'{{"line":{line},"receipt":{data.decode()}}}'


def _embedded() -> Any:
    server = wiring.Database(homes.default_path()).server
    if server is None:
        raise UsageError("DATABASE_URL names the database: start and stop it where it runs")
    return server


def _say_status() -> None:
    found = _embedded().status()
    state = f"running, pid {found.pid}" if found.running else "stopped"
    document = {"running": found.running, "pid": found.pid, "version": found.version, "data": str(found.data)}
    say(f"{state}, PostgreSQL {found.version or '?'}, data in {found.data}", document)


@contextlib.contextmanager
def _input(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
    else:
        with lines.opened(Path(file)) as stream:
            yield stream


ledger.add_command(succession.succeed)
keys.keys.add_command(disposal.shred)
keys.keys.add_command(rekey.rekey)
keys.keys.add_command(rekey.replay)
for command in (
    access.producer,
    access.user,
    access.grant,
    approver.approver,
    bundle.bundle,
    checkpoint.checkpoint,
    disposal.disposal,
    holds.hold,
    imports.imported,
    keys.keys,
    proof.proofs,
    requests.request,
    records.records,
    report.report,
    rules.rules,
    trace.events,
    running.serve,
    running.up,
    sample.sample,
    signer.signer,
    witness.witness,
    work.worker,
    work.jobs,
):
    main.add_command(command)


if __name__ == "__main__":
    main()
