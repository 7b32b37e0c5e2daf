"""``proof``: a leaf's inclusion proof as a file that needs no vault (C2SP tlog-proof), and its verification.

reasonvault proof dec-3 --ledger cn -o dec-3.tlog-proof --leaf dec-3.leaf
reasonvault proof verify dec-3.tlog-proof --leaf dec-3.leaf --key vault.example/3f6c...+8a2b11c0+ATx...
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click

from service.commands.access import acting
from service.commands.words import WORDS
from service.terminal import Commands, say
from vault import ledgers, locating, logreading
from vault.context import Vault
from vault.core import canonical, leaf, proof
from vault.core.errors import Modified, UsageError
from vault.core.leaf import EventLeaf, GenesisLeaf, Leaf
from vault.core.note import VerifierKey
from vault.core.tree import leaf_hash
from vault.ledgers import Ledger

_MOST: Final = 4_000_000
_FILE = click.Path(path_type=Path)


class _Proofs(Commands):
    """A group whose first word is a record's id unless it names a command: ``proof dec-3`` is ``proof make dec-3``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["make", *args]
        return super().parse_args(ctx, args)


@click.group("proof", cls=_Proofs)
def proofs() -> None:
    """Proofs that an entry stands in a ledger, for people without a vault. 'proof RECORD_ID' makes one."""


@proofs.command()
@click.argument("record_id", type=WORDS, required=False)
@click.option("--seq", type=click.IntRange(0), help="The entry at this position, instead of a record's.")
@click.option("--ledger", "name", help="The ledger's name; may be left out where there is only one.")
@click.option("-o", "--output", "out", type=_FILE, required=True, help="The proof file to write.")
@click.option("--leaf", "leaf_file", type=_FILE, help="Write the leaf here: verifying needs it.")
@click.option("--user", help="Your local account; without it, the passphrase's holder asks.")
def make(
    record_id: str | None, seq: int | None, name: str | None, out: Path, leaf_file: Path | None, user: str | None
) -> None:
    """Write the inclusion proof of a record's leaf, of a destroyed record as well. Looking an id up is logged first."""
    if (record_id is None) == (seq is None):
        raise UsageError("name a record, or an entry with --seq: one of them")
    with acting(user) as vault:
        if record_id is not None:
            located = locating.of(vault, _ledger(vault, name), record_id)
        else:
            assert seq is not None
            place = vault.events if name == ledgers.EVENTS else _ledger(vault, name).id
            logreading.require(vault, place, entries=leaf_file is not None)
            located = locating.at(vault, place, seq)
            if place == vault.events and leaf_file is not None:
                logreading.tell(vault, seq, 1)
        ledger = UUID(located.leaf.ledger)
        checkpoint = vault.checkpoints.open(ledger, located.proof.checkpoint)
        verifier = str(vault.checkpoints.verifier(ledger))
    out.write_text(located.proof.to_text(), "utf-8")
    if leaf_file is not None:
        leaf_file.write_bytes(located.data)
    document: dict[str, Any] = {
        "file": str(out),
        **_entry(located.leaf, located.data),
        "checkpoint_size": checkpoint.size,
        "root": canonical.b64(checkpoint.root),
        "verifier": verifier,
        "destroyed": located.destroyed,
        "access_event": located.access,
    }
    words = (
        f"{out}: {_words(located.leaf)} is in the signed tree of {checkpoint.size} entries"
        f"\nIt shows that this leaf was there when that tree was signed, and where. It shows no content."
        f"\nVerify it with the leaf and this key, which you got from the vault's owner:\n{verifier}"
    )
    if located.destroyed:
        words += "\nThe record was destroyed by policy; its leaf stays. The certificate of its disposal says how."
    say(words, document)


@proofs.command()
@click.argument("file", type=_FILE)
@click.option("--leaf", "leaf_file", type=_FILE, required=True, help="The leaf's bytes, nothing before or behind them.")
@click.option("--key", "keys", type=WORDS, multiple=True, required=True, help="A verifier key you trust; repeat it.")
def verify(file: Path, leaf_file: Path, keys: tuple[str, ...]) -> None:
    """Verify a proof file. Needs no vault.

    Exits 0 when it holds, 3 when it is no proof file, 10 when it proves nothing of this leaf.
    """
    trusted = [VerifierKey.parse(key) for key in keys]
    found, data = proof.Proof.parse(_read(file)), _read(leaf_file)
    entry = leaf.parse(data)
    checkpoint = proof.verify(found, data, trusted, _origin(trusted))
    if entry.seq != found.index or not checkpoint.origin.endswith(f"/{entry.ledger}"):
        raise Modified("the leaf says that it belongs elsewhere", entry.ledger, entry.seq)
    words = f"{_words(entry)} is in the tree of {checkpoint.size} entries that {checkpoint.origin} signed"
    say(words, {"verdict": "OK", **_entry(entry, data), "checkpoint_size": checkpoint.size})


def _ledger(vault: Vault, name: str | None) -> Ledger:
    if name is not None:
        return ledgers.get(vault, name)
    found = [one for one in ledgers.listing(vault) if one.row.kind == "decisions"]
    if len(found) != 1:
        raise UsageError("--ledger says which ledger: see 'reasonvault ledger list'")
    return found[0]


def _origin(trusted: list[VerifierKey]) -> str:
    origins = {key.name for key in trusted}
    if len(origins) > 1:
        raise UsageError("the keys are of different ledgers")
    return origins.pop()


def _read(path: Path) -> bytes:
    with contextlib.closing(path.open("rb")) as file:
        data = file.read(_MOST + 1)
    if len(data) > _MOST:
        raise UsageError(f"{path} is longer than {_MOST} bytes")
    return data


def _entry(entry: Leaf, data: bytes) -> dict[str, Any]:
    return {
        "ledger": entry.ledger,
        "seq": entry.seq,
        "kind": entry.kind,
        "leaf_hash": canonical.b64(leaf_hash(data)),
    }


def _words(entry: Leaf) -> str:
    if isinstance(entry, GenesisLeaf):
        told = f"the genesis of {entry.name}, created at {entry.created_at}"
    elif isinstance(entry, EventLeaf):
        told = f"the event {entry.event} of {entry.at}"
    else:
        told = f"a record received at {entry.received_at} from {entry.producer}"
    return f"entry {entry.seq} of ledger {entry.ledger}, {told},"
