"""``witness``: have others see that the vault's history only grows, and say when."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

import click

from service import home as homes
from service import wiring, witness_http
from service.terminal import Commands, opened_vault, say
from vault import outside, witnessing
from vault.core.errors import Unavailable, UsageError
from vault.outside import Assured
from vault.policy import Policy


@click.group(cls=Commands)
def witness() -> None:
    """Witnesses and time-stamps: who vouches for this vault from outside. Set up in witness.toml."""


@witness.command("run")
@click.option("--stamp/--no-stamp", default=True, show_default=True, help="Ask for a time-stamp, due or not.")
def run_round(stamp: bool) -> None:
    """Show the newest checkpoint to every witness, and have it stamped.

    Exits 5 where somebody did not do what they were asked (what the others said is kept), 12 where a witness saw a
    history that is not here.
    """
    with opened_vault() as vault, witness_http.opened() as post:
        if not vault.checkpoints.policy().active:
            raise UsageError("nobody is asked: name witnesses or authorities in witness.toml in the home directory")
        made = witnessing.run(vault, post, stamp=stamp)
    words = [f"the checkpoint of {made.size:,} events, which anchors {made.anchored:,} other ledgers anew:"]
    words += [f"  cosigned by {name}" for name in made.witnesses]
    words += [f"  stamped at {_instant(made.stamped)}"] if made.stamped else []
    document = {
        "size": made.size,
        "anchored": made.anchored,
        "witnesses": list(made.witnesses),
        "stamped_at": _instant(made.stamped),
        "problems": list(made.problems),
    }
    say("\n".join(words if len(words) > 1 else [*words, "  nobody vouches for it"]), document)
    if made.problems:  # what the others said is a result all the same, and one document
        click.echo(f"reasonvault: {'; '.join(made.problems)}", err=True)
        sys.exit(Unavailable.exit_code)


@witness.command("status")
def show_status() -> None:
    """Say when the vault was last witnessed and stamped, and what a witness needs to know of it. Asks nobody.

    Needs no passphrase. Exits 0 whatever it says.
    """
    home = homes.default_path()
    with wiring.open_sealed(home) as sealed:
        checkpoints, events = sealed.checkpoints, sealed.identity.events
        policy = checkpoints.policy()
        found = outside.assured_of(checkpoints, events, wiring.clock())
        unmet = outside.unmet(checkpoints, events, wiring.clock())
        keys = [str(key) for key in checkpoints.in_force(events)]
        origin = checkpoints.origin(events)
    words = [*_words(found, policy), f"origin    {origin}", *(f"key       {key}" for key in keys)]
    say("\n".join(words), _document(found, policy) | {"unmet": list(unmet), "origin": origin, "keys": keys})


def _words(found: Assured, policy: Policy) -> list[str]:
    if not policy.active and found.witnessed_at is None and found.stamped_at is None:
        return ["nobody vouches for this vault: its times are self-asserted"]
    cosigned = f"{_instant(found.witnessed_at)} by {', '.join(found.witnesses)}" if found.witnessed_at else "never"
    stamped = f"{_instant(found.stamped_at)} by {found.authority}" if found.stamped_at else "never"
    words = [f"witnessed {cosigned}", f"stamped   {stamped}"]
    if not found.independent:
        words.append("all of them are this vault's own: that proves nothing against whoever runs it")
    return words + [f"problem   {one}" for one in found.problems]


def _document(found: Assured, policy: Policy) -> dict[str, Any]:
    return {
        "configured": policy.active,
        "fail": "closed" if policy.closed else "open",
        "quorum": policy.quorum,
        "witnessed_at": _instant(found.witnessed_at),
        "witnesses": list(found.witnesses),
        "independent": found.independent,
        "stamped_at": _instant(found.stamped_at),
        "authority": found.authority,
        "problems": list(found.problems),
    }


def _instant(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"
