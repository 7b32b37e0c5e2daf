"""``sample``: fix a population before anybody knows which of its records will be looked at.

reasonvault sample commit --ledger cn
openssl rand -hex 16
reasonvault report evidence --ledger cn --purpose "audit 2026" --sample s-... --nonce 9f3c... -o evidence.pdf
"""

from __future__ import annotations

import re
import sys
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import click

from service import witness_http
from service.commands.access import acting
from service.terminal import Commands, say
from vault import ledgers, witnessing
from vault.context import Vault
from vault.core.errors import Unavailable

if TYPE_CHECKING:
    from reports.committing import Committed
    from reports.model import Seen

_AMOUNT: Final = re.compile(r"([A-Z]{3}):([0-9]{1,18}(?:\.[0-9]{1,6})?)", re.ASCII)
_SHARE: Final = re.compile(r"0\.[0-9]{1,6}", re.ASCII)
_LATER: Final = 1 << 62  # behind every position


class Amount(click.ParamType[tuple[str, Decimal]]):
    """A sum, such as ``CNY:50000``."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Decimal]:
        found = _AMOUNT.fullmatch(str(value))
        if found is None:
            self.fail("a sum is a currency and an amount, such as CNY:50000", param, ctx)
        return found[1], Decimal(found[2])


class Nonce(click.ParamType[bytes]):
    """Bytes in hexadecimal; how many is decided where they are used."""

    name = "hex"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        try:
            return bytes.fromhex(str(value))
        except ValueError:
            self.fail("a nonce is written in hexadecimal: 'openssl rand -hex 16' draws one", param, ctx)


class Share(click.ParamType[Fraction]):
    """A share between 0 and 1, exactly as it is written."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        if not _SHARE.fullmatch(str(value)):
            self.fail("a share lies between 0 and 1, such as 0.95", param, ctx)
        return Fraction(str(value))


AMOUNT: Final = Amount()
NONCE: Final = Nonce()
SHARE: Final = Share()


@click.group(cls=Commands)
def sample() -> None:
    """Samples that an auditor draws: the population first, then their nonce."""


@sample.command()
@click.option("--ledger", "name", required=True, help="The ledger's name.")
@click.option("--confidence", type=SHARE, default="0.95", show_default=True, help="How sure the sample shall make.")
@click.option(
    "--tolerable", type=SHARE, default="0.05", show_default=True, help="The share of wrong records to be ruled out."
)
@click.option("--user", help="Your local account, to commit under a grant; without it, the passphrase's holder does.")
def commit(name: str, confidence: Fraction, tolerable: Fraction, user: str | None) -> None:
    """Fix the population of a ledger, and have witnesses see it; then the auditor draws a nonce, and not before.

    Exits 5 where somebody did not do what they were asked: the population is committed, and what the others said kept.
    """
    from reports.committing import commit as fix
    from reports.committing import seen

    with acting(user) as vault:
        made = fix(vault, ledgers.get(vault, name), confidence=confidence, tolerable=tolerable)
        problems = _shown(vault)
        who = seen(vault, made.seq, _LATER)
    say(_words(made, who), _document(made, who) | {"problems": problems})
    if problems:  # what the others said is a result all the same, and one document
        click.echo(f"reasonvault: {'; '.join(problems)}", err=True)
        sys.exit(Unavailable.exit_code)


def _shown(vault: Vault) -> list[str]:
    """Show the events to everybody whom witness.toml names; return what went wrong."""
    if not vault.checkpoints.policy().active:
        return []
    with witness_http.opened() as post:
        return list(witnessing.run(vault, post, stamp=True).problems)


def _words(made: Committed, who: tuple[Seen, ...]) -> str:
    checkpoint = made.signed.checkpoint
    words = [
        f"sample {made.sample}: {checkpoint.size:,} entries, root {checkpoint.root.hex()}",
        f"  {made.size} records will be drawn (events seq {made.seq})",
        *(f"  seen at {one.at:%Y-%m-%dT%H:%M:%SZ} by {one.by}{', our own' if one.own else ''}" for one in who),
    ]
    if who:
        return "\n".join([*words, "Now the auditor draws 16 random bytes of their own: openssl rand -hex 16, or dice."])
    return "\n".join(
        [
            *words,
            "  nobody outside has seen it: run 'reasonvault witness run' before the auditor draws, or the report will "
            "say so",
            "Then the auditor draws 16 random bytes of their own: openssl rand -hex 16, or dice.",
        ]
    )


def _document(made: Committed, who: tuple[Seen, ...]) -> dict[str, Any]:
    checkpoint = made.signed.checkpoint
    return {
        "sample": made.sample,
        "event": made.seq,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "note": made.signed.note,
        "confidence": float(made.confidence),
        "tolerable": float(made.tolerable),
        "records_to_draw": made.size,
        "seen": [{"at": f"{one.at:%Y-%m-%dT%H:%M:%SZ}", "by": one.by, "own": one.own} for one in who],
    }
