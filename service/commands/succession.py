"""``ledger succeed``: the way on for a ledger that lost entries."""

from __future__ import annotations

from typing import cast

import click

from service.commands.access import acting
from service.commands.words import WORDS
from service.printing import recovery_document, recovery_words
from service.terminal import say
from vault import succession
from vault.succession import Unproved


@click.command()
@click.argument("name")
@click.option("--reason", required=True, type=WORDS, help="What happened; sealed into the event.")
@click.option("--new-name", help="The successor's name; default: NAME-2, NAME-3 and so on.")
@click.option(
    "--unproved",
    type=click.Choice(["keep", "lose"]),
    help="What becomes of entries that chain on, and that no signature covers. Asked for where there are any.",
)
@click.option("--user", help="Your local account, as one of two officers; without it, the passphrase's holder acts.")
def succeed(name: str, reason: str, new_name: str | None, unproved: str | None, user: str | None) -> None:
    """Freeze a ledger that is FORKED at its last good head, and make another one that goes on in its place.

    It cannot be undone. Running it again finishes a run that was cut short.
    """
    with acting(user) as vault:
        made = succession.succeed(vault, name, reason, new_name=new_name, unproved=cast(Unproved | None, unproved))
    say(recovery_words(made), recovery_document(made))
