"""``checkpoint``: the signed tree heads: to show, to anchor in the events, and with which keys they are signed."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from service import home as homes
from service import rotation, wiring
from service.commands.moments import instant
from service.terminal import Commands, opened_vault, say, wants_json
from service.wiring import Sealed
from vault import anchoring, rotating
from vault.core import canonical
from vault.core.anchor import Anchor
from vault.core.errors import Forked, UsageError
from vault.core.note import encode_base64
from vault.core.signer import Signer
from vault.db import store
from vault.db.engine import transact
from vault.ledgers import EVENTS
from vault.register import Register


@click.group(cls=Commands)
def checkpoint() -> None:
    """Checkpoints: signed tree heads, kept outside the database."""


@checkpoint.command("show")
@click.argument("ledger", default=EVENTS)
@click.option("-o", "--output", "out", type=click.Path(path_type=Path), help="Write the note here instead.")
def show(ledger: str, out: Path | None) -> None:
    """Print the last checkpoint of LEDGER (name or uuid; default: the events), a C2SP note exactly as it lies there.

    Facts go to standard error. Its signature is verified first. Needs no passphrase.
    """
    with wiring.open_sealed(homes.default_path()) as sealed:
        found = _ledger(sealed, ledger)
        signed, note = sealed.checkpoints.read(found), sealed.checkpoints.note(found)
        if signed is None or note is None:
            raise Forked("the checkpoint outside the database is missing", str(found))
        keys = [one.name for one in sealed.checkpoints.signers() if one.public in sealed.checkpoints.signed_by(found)]
    document = {
        "ledger": str(found),
        "origin": signed.origin,
        "size": signed.size,
        "root": canonical.b64(signed.root),
        "signed_by": keys,
        "note": note,
    }
    if out is not None:
        _write(out, note)
    elif not wants_json():
        click.echo(note, nl=False)
    words = (
        f"{signed.origin}: {signed.size:,} entries, root {encode_base64(signed.root)}, signed by {' and '.join(keys)}"
    )
    say(words, document | ({} if out is None else {"file": str(out)}), err=not wants_json())


@checkpoint.command("list")
@click.argument("ledger", required=False)
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="So many of each ledger.")
@click.option("--before", type=click.IntRange(0), help="Only below this position: how the next page is asked for.")
def list_anchors(ledger: str | None, limit: int, before: int | None) -> None:
    """List the anchors of LEDGER, or of all, newest first: what the events hold each ledger's tree to.

    They are shown as they stand; 'reasonvault verify' compares each with the ledger. Needs no passphrase.
    """
    rows: list[dict[str, Any]] = []
    with wiring.open_sealed(homes.default_path()) as sealed:
        events = sealed.identity.events
        names = {row.ledger_id: row.name for row in transact(sealed.engine, store.ledgers)}
        wanted = [_ledger(sealed, ledger)] if ledger is not None else [one for one in names if one != events]
        for one in wanted:
            told = anchoring.stream(sealed.engine, events, one)
            kept = deque((anchor for anchor in told if before is None or anchor.seq < before), maxlen=limit)
            rows += [_anchor(names.get(one, "?"), one, anchor) for anchor in reversed(kept)]
    form = "{event:>10}  {at:<24}  {name:<24} {size:>12}  {root}"
    head = form.format(event="event", at="at", name="ledger", size="size", root="root")
    say("\n".join([head, *(form.format(**row) for row in rows)]) if rows else "nothing is anchored yet", rows)


@checkpoint.command("keys")
@click.argument("ledger", default=EVENTS)
def keys(ledger: str) -> None:
    """List every key that ever signed checkpoints of LEDGER (name or uuid), oldest first, as C2SP verifier keys.

    Whoever verifies old notes needs all of them; a new head must have the current one's. Needs no passphrase.
    """
    with wiring.open_sealed(homes.default_path()) as sealed:
        found = _ledger(sealed, ledger)
        register = Register(sealed.engine, sealed.checkpoints, sealed.identity.events, lambda _tickets: None)
        told, listed = register.standing().signers, sealed.checkpoints.signers()
        spelled = [str(key) for key in sealed.checkpoints.verifiers(found)]
    rows: list[dict[str, Any]] = []
    for one, verifier in zip(listed, spelled, strict=True):
        known = told.get(one.public)
        row: dict[str, Any] = {
            "key": one.name,
            "state": one.state,
            "from": None,
            "until": None,
            "size": None,
            "verifier": verifier,
        }
        if known is not None and known.added is not None:
            row |= {"from": instant(known.added_at), "added_event": known.added}
        if one.state == "retired" and known is not None:
            row |= {"until": instant(known.retired_at), "retired_event": known.retired}
            row["size"] = one.sizes.get(str(found), 0)
        rows.append(row)
    words = [
        f"{row['key']:<16} {row['state']:<8} from {row['from'] or 'the beginning':<20} "
        f"until {row['until'] or '-':<20} {row['verifier']}"
        for row in rows
    ]
    say("\n".join(words), rows)


@checkpoint.command("anchor")
def anchor() -> None:
    """Anchor every ledger's newest checkpoint in the events ledger, where it moved. The worker does so each minute."""
    with opened_vault() as vault:
        done = anchoring.anchor(vault, every=0)
    say(f"{done} ledgers anchored" if done else "nothing moved since the last anchors", {"anchored": done})


@checkpoint.group(cls=Commands)
def rotate() -> None:
    """Another key signs the checkpoints: begin, give its verifier key to whoever checks, finish."""


@rotate.command("begin")
def begin() -> None:
    """Make a new checkpoint key. From now on everything is signed with both, the current one and the new one.

    Run again after an interruption, it completes what is missing. A running service and worker take part by themselves.
    """
    home = homes.default_path()
    with rotation.opened(home, homes.passphrase()) as (vault, keeper):
        made = rotating.begin(vault, keeper)
        spelled = str(vault.checkpoints.verifiers(vault.events)[-1])
    words = (
        f"{made.name} signs beside the current key\n"
        f"its verifier key for the events ledger: {spelled}\n"
        "give the keys of 'reasonvault checkpoint keys LEDGER' to whoever checks signatures, then:\n"
        "'reasonvault checkpoint rotate finish'"
    )
    say(words, _key(made) | {"verifier": spelled})


@rotate.command("finish")
def finish() -> None:
    """Retire the old checkpoint key: it vouches for what it signed, and for nothing more.

    Run again after an interruption, it completes what is missing.
    """
    home = homes.default_path()
    with rotation.opened(home, homes.passphrase()) as (vault, keeper):
        old = rotating.finish(vault, keeper)
        now = str(vault.checkpoints.verifier(vault.events))
    say(
        f"{old.name} is retired; new checkpoints are signed with {now}",
        _key(old) | {"state": "retired", "current": now},
    )


def _key(one: Signer) -> dict[str, Any]:
    return {"key": one.name, "state": one.state, "public": canonical.b64(one.public_key)}


def _anchor(name: str, ledger: UUID, told: Anchor) -> dict[str, Any]:
    root = canonical.b64(told.root)
    return {"ledger": str(ledger), "name": name, "event": told.seq, "at": told.at, "size": told.size, "root": root}


def _ledger(sealed: Sealed, name: str) -> UUID:
    """Return a ledger by name or uuid; also one that the database lost, which its checkpoint outlives."""
    if name in (EVENTS, str(sealed.identity.events)):
        return sealed.identity.events
    outside = {str(ledger): ledger for ledger in sealed.checkpoints.ledgers()}
    if name in outside:
        return outside[name]
    for row in transact(sealed.engine, store.ledgers):
        if name == row.name:
            return row.ledger_id
    raise UsageError(f"no ledger is named {name[:64]}: see 'reasonvault ledger list'")


def _write(path: Path, note: str) -> None:
    """Write a file of its own, or into a device or a pipe."""
    if path.exists() and not path.is_file():
        path.write_text(note, "utf-8")
        return
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(note, "utf-8")
    os.replace(temporary, path)
