"""``disposal`` and ``keys shred``: plan, approve, cancel, run. Destroying needs two people with keys of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from retention import approvers, disposallist, evidence_of
from retention import disposal as disposals
from retention.certified import CertificateFacts
from retention.destroying import Outcome
from retention.plan import Plan
from service import home as homes
from service import wiring
from service.commands.access import acting, logged_in
from service.commands.approver import passphrase
from service.commands.words import WORDS
from service.retention_settings import read_disposal
from service.terminal import Commands, progress, say
from vault import ledgers, whereabouts
from vault.context import Vault
from vault.core.errors import UsageError
from vault.core.governance import Disposal
from vault.ledgers import EVENTS, Ledger

_USER = "Your local account; without it, the passphrase's holder acts."
_LOOKS = "Your local account; without it, the passphrase's holder looks."


@click.group(cls=Commands)
def disposal() -> None:
    """Disposals: destroy what is due, so that nobody can read it any more, backups included."""


@disposal.command("plan")
@click.option("--ledger", "name", required=True, help="The ledger's name; 'events' for what events seal.")
@click.option("--month", help="Only what became due in this month, YYYY-MM.")
@click.option("--user", "user", help=_USER)
def plan_disposal(name: str, month: str | None, user: str | None) -> None:
    """Open everything that may be due, and freeze what is due and free. Nothing is destroyed."""
    with acting(user) as vault, progress("looking") as told:
        waits = read_disposal(homes.default_path())
        made = disposals.plan(vault, _ledger(vault, name), month=month, cooling_off=waits, progress=told)
    _say_plan(made)


@disposal.command("list")
@click.option("--user", "user", help=_LOOKS)
def list_disposals(user: str | None) -> None:
    """List the disposals and how far each came. Looking is an event."""
    with acting(user) as vault:
        names = {str(one.id): one.row.name for one in ledgers.listing(vault)}
        found = disposallist.listing(vault)
    rows = [_row(one, names) for one in found]
    words = [
        f"{row['disposal']}  {row['state']:<10}  {row['kind']:<6}  {row['entries']:>10}  {row['ledger_name']}"
        for row in rows
    ]
    say("\n".join(words) or "there are no disposals", rows)


@disposal.command("show")
@click.argument("disposal_id")
@click.option("--user", "user", help=_LOOKS)
def show_disposal(disposal_id: str, user: str | None) -> None:
    """Show one disposal: what it takes and what it leaves, who approved it, and what it waits for."""
    with acting(user) as vault:
        document = disposallist.show(vault, disposal_id)
    say("\n".join(_lines(document)), document)


@disposal.command("approve")
@click.argument("disposal_id")
@click.option("--key", "file", type=click.Path(path_type=Path), required=True, help="Your approver's key.")
@click.option("--user", "user", required=True, help="Your local account; its password is asked for.")
def approve_disposal(disposal_id: str, file: Path, user: str) -> None:
    """Sign the plan with your own key. The second approval begins the cooling-off."""
    key = approvers.read_private(file, passphrase)
    with logged_in(user) as vault:
        made = disposals.approve(vault, disposal_id, key)
        document = disposallist.whole(vault, made.id, all_said=True)
    say("\n".join(_lines(document)), document)


@disposal.command("cancel")
@click.argument("disposal_id")
@click.option("--user", "user", help=_USER)
def cancel_disposal(disposal_id: str, user: str | None) -> None:
    """End a disposal before its keys die. Everything is kept."""
    with acting(user) as vault:
        disposals.cancel(vault, disposal_id)
    say(f"{disposal_id} is cancelled", {"disposal": disposal_id, "state": "cancelled"})


@disposal.command("run")
@click.argument("disposal_id")
def run_disposal(disposal_id: str) -> None:
    """Destroy what was approved, once cooling-off is over; or go on where an earlier run ended."""
    with _retaining() as vault, progress("looking") as told:
        done = disposals.run(vault, disposal_id, told)
    say(_outcome_words(done), _outcome(done))


@disposal.command("certificate")
@click.argument("disposal_id")
@click.option("-o", "--output", "out", type=click.Path(path_type=Path), help="Issue it as a PDF: this file.")
def certificate(disposal_id: str, out: Path | None) -> None:
    """Print what is certified of a disposal that is done: rules, dates, manifest, keys, people, copies.

    With -o, issue the certificate of destruction; that is an event.
    """
    if out is None:
        with _retaining() as vault:
            facts = evidence_of.collect(vault, disposal_id)
        say("\n".join(_certified(facts)), evidence_of.document(facts))
        return
    from reports.certificate import issue_certificate  # here: the page layout takes a second to load

    with _retaining() as vault:
        made = issue_certificate(vault, disposal_id, out)
    text = sum(1 for copy in made.facts.copies if copy.shows == "text")
    words = (
        f"{out}: {made.pages} pages, {made.size:,} bytes, sha256 {made.sha256.hex()}\n"
        f"  {made.facts.destroyed:,} destroyed of {made.facts.planned:,}; "
        f"{text or 'no'} outstanding copies that may still show text"
    )
    facts_of_file = {"file": str(out), "report": made.report, "sha256": made.sha256.hex(), "pages": made.pages}
    document = facts_of_file | {"bytes": made.size, "event": made.event, "outstanding": len(made.facts.copies)}
    say(words, document | {"disposal": made.facts.disposal, "destroyed": made.facts.destroyed})


@click.command("shred")
@click.argument("record_ids", nargs=-1, required=True, metavar="RECORD_ID...")
@click.option("--ledger", "name", required=True, help="The ledger's name.")
@click.option("--reason", required=True, type=WORDS, help="Why before it is due; sealed into the plan.")
@click.option("--user", "user", help=_USER)
def shred(record_ids: tuple[str, ...], name: str, reason: str, user: str | None) -> None:
    """Plan to destroy records before they are due. Two people approve it like any disposal; held ones are refused."""
    with acting(user) as vault:
        ledger = ledgers.get(vault, name)
        seqs = whereabouts.positions(vault, ledger, record_ids)
        waits = read_disposal(homes.default_path())
        made = disposals.plan(vault, ledger, kind="early", records=seqs, reason=reason, cooling_off=waits)
    _say_plan(made)


@contextmanager
def _retaining() -> Iterator[Vault]:
    home = homes.default_path()
    wiring.identity(home)
    with wiring.open_for_retention(home, homes.passphrase()) as vault:
        yield vault


def _ledger(vault: Vault, name: str) -> Ledger:
    if name != EVENTS:
        return ledgers.get(vault, name)
    found = ledgers.find(vault, name)
    if found is None:
        raise UsageError("this vault has no events ledger")
    return found


def _say_plan(made: Plan) -> None:
    left = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in made.excepted.items() if count)
    beside = f"; left behind: {left}" if left else ""
    document = {
        "disposal": made.id or None,
        "kind": made.kind,
        "ledger": str(made.ledger),
        "entries": made.entries,
        "groups": list(made.groups),
        "manifest": made.manifest if made.id else None,
        "looked": made.looked,
        "excepted": dict(made.excepted),
        "holds": dict(made.holds),
    }
    if not made.id:
        say(f"nothing is due{beside}", document)
        return
    early = "EARLY, before it is due: " if made.kind == "early" else ""
    words = (
        f"{made.id}  {early}{_entries(made.entries)} in {', '.join(made.groups)}{beside}\n"
        f"manifest {made.manifest}\n"
        f"Two approvers sign it: 'reasonvault disposal approve {made.id} --key FILE --user NAME'."
    )
    say(words, document)


def _entries(number: int) -> str:
    return f"{number} {'entry' if number == 1 else 'entries'}"


def _row(one: Disposal, names: dict[str, str]) -> dict[str, Any]:
    return {
        "disposal": one.id,
        "kind": one.kind,
        "state": one.state,
        "ledger": one.ledger,
        "ledger_name": names.get(one.ledger, one.ledger),
        "entries": one.count,
        "approvals": len(one.approvals),
        "certified": one.certified,
    }


def _lines(document: dict[str, Any]) -> Iterator[str]:
    kind = "EARLY" if document["kind"] == "early" else document["kind"]
    ledger = f"{document['ledger_name']} ({document['ledger']})"
    yield f"{document['disposal']}  {document['state']}  {kind}  ledger {ledger}"
    yield f"planned by {document['planned_by']} at {document['planned_at']}, event {document['planned']}"
    if document["kind"] == "early":
        yield f"reason: {document['reason'] or 'sealed'}"
    yield f"{_entries(document['entries'])} in {', '.join(document['groups'])}, manifest {document['manifest']}"
    due = f"the last of them due {document['due']}" if document["due"] else "BEFORE THEY ARE DUE"
    yield f"{due}; cooling-off {document['cooling_off_seconds']} s"
    for one in document["rules"]:
        yield f"rule {one['rule']} of {one['book']} ({one['status']}): {_entries(one['count'])}, {one['instrument']}"
    left = ", ".join(f"{count} {why.replace('_', ' ')}" for why, count in document["excepted"].items() if count)
    yield f"left behind when planned: {left or 'none'}"
    for hold, count in document["holds"].items():
        yield f"hold {hold} kept {_entries(count)}"
    for one in document["approvals"]:
        yield f"approved by {one['person']} with {one['fingerprint']}{'' if one['counts'] else ': does not count'}"
    if document["approvals_missing"]:
        yield f"approvals missing: {document['approvals_missing']}"
    if document["not_before"]:
        yield f"not before {document['not_before']}"
    if document["destroyed"] is not None:
        yield f"destroyed {document['destroyed']}, left behind {document['left_behind']}"
    yield f"waits for: {document['waits_for'] or 'nothing'}"


def _certified(facts: CertificateFacts) -> Iterator[str]:
    early = ", EARLY: before it was due" if facts.early else ""
    yield f"{facts.disposal}  ledger {facts.ledger_name} ({facts.ledger}){early}"
    yield f"destroyed {facts.destroyed} of {facts.planned} planned entries, on {facts.destroyed_at or 'no day'}"
    yield f"manifest {facts.manifest}"
    for rule in facts.rules:
        yield (
            f"rule {rule.id} of {rule.book} ({rule.status}): {rule.instrument}, {rule.minimum} from {rule.trigger}"
            f" {rule.first_trigger or '?'}..{rule.last_trigger or '?'}, due {rule.first_until}..{rule.last_until}"
        )
    yield (
        f"holds asked at {facts.holds_checked_at}: {facts.held} held, {facts.extended} extended,"
        f" {facts.open_ended} open-ended, {facts.moved_before} saved before"
    )
    for key in facts.keys:
        yield f"key {key.key} ({key.provider}): {key.state}, destroyed {key.destroyed_at or 'not'}, event {key.event}"
    yield f"{_tried(facts.epochs_tried, facts.destroyed)}; {facts.deleted} envelopes deleted"
    for one in facts.approvers:
        yield f"approved by {one.person} with {one.fingerprint}{'' if one.counts else ': does not count'}"
    yield f"cooling-off {facts.cooling_off_seconds} s from {facts.intended_at}"
    yield f"ledger at {facts.before.size} entries before, {facts.after.size} after"
    for copy in facts.copies:
        yield f"outstanding: {copy.what}{' at ' + copy.holder if copy.holder else ''}, until {copy.until}"
    yield f"issued {facts.issued_at}"


def _outcome(done: Outcome) -> dict[str, Any]:
    return {
        "disposal": done.id,
        "ledger": done.ledger,
        "state": "done",
        "destroyed": done.entries,
        "left_behind": done.excepted,
        "epochs_tried": done.epochs_tried,
    }


def _outcome_words(done: Outcome) -> str:
    if not done.entries:
        return f"{done.id} is done: nothing of it was left to destroy, {_entries(done.excepted)} kept"
    tried = _tried(done.epochs_tried, done.entries)
    return f"{done.id} is done: {_entries(done.entries)} destroyed, {done.excepted} kept; {tried}"


def _tried(epochs: int, destroyed: int) -> str:
    if epochs or not destroyed:
        return f"none of {epochs} epoch keys opens"
    # Whoever takes the wrapped keys away has tried every one of them before.
    return "no epoch key opened: an earlier run, interrupted after it, tried them all and took them away"
