"""``report dossier``: one conversation, under a grant."""

from __future__ import annotations

from pathlib import Path

import click

from service.commands.report_making import common, make
from service.commands.words import WORDS


@click.command()
@click.option("--ledger", "name", required=True, help="The ledger's name.")
@click.option("--conversation", type=WORDS, metavar="ID", help="The conversation, by its id; or @FILE, or -.")
@click.option("--record", type=WORDS, metavar="ID", help="The conversation of this record.")
@click.option("--transaction", type=WORDS, metavar="ID", help="The conversation of this transaction.")
@click.option("--grant", metavar="ID", help="The grant to open records under; default: for each, one that opens it.")
@common
def dossier(
    purpose: str,
    out: Path,
    *,
    language: str | None,
    user: str | None,
    name: str,
    conversation: str | None,
    record: str | None,
    transaction: str | None,
    grant: str | None,
) -> None:
    """Make the dossier of one conversation: every attempt, retry, review and execution, as your grant shows them.

    It carries text out of the vault, so it needs a login (--user) and a grant; the access is logged first.
    """
    options = {"conversation": conversation, "record": record, "transaction": transaction, "grant": grant}
    make("dossier", purpose, out, language=language, user=user, name=name, options=options)
