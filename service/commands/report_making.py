"""Making a report at the command line: the options of every kind, and one way of making and telling.

@click.command()
@common
def integrity(**asked: Any) -> None:
    make("integrity", **asked)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from service import home as homes
from service import wiring
from service.commands.access import acting
from service.commands.words import WORDS
from service.terminal import progress, say
from vault import ledgers
from vault.verdict import Verdict

if TYPE_CHECKING:
    from reports.issue import Issued

DAY = click.DateTime(["%Y-%m-%d"])
WITH_PROBLEMS = 7
"""Exit code of a report that was made, and that tells of something which kept it from being what was wanted."""

F = TypeVar("F", bound=Callable[..., Any])


def common(command: F) -> F:
    """Options that every kind has; those about one ledger also take ``of_ledger``."""
    for option in reversed(
        (
            click.option("--purpose", required=True, type=WORDS, help="Why it is made; printed on page one."),
            click.option(
                "-o", "--output", "out", type=click.Path(path_type=Path), required=True, help="The PDF to make."
            ),
            click.option("--language", help="en or zh-Hans; default: that of branding.toml, else en."),
            click.option(
                "--user", help="Your local account, to report under a grant; without it, the passphrase's holder does."
            ),
        )
    ):
        command = option(command)
    return command


def of_ledger(command: F) -> F:
    """Options of kinds about one ledger and a period."""
    for option in reversed(
        (
            click.option("--ledger", "name", required=True, help="The ledger's name."),
            click.option(
                "--from", "first", type=DAY, metavar="DATE", help="First day, in the ledger's first jurisdiction."
            ),
            click.option("--to", "end", type=DAY, metavar="DATE", help="First day that is no longer included."),
        )
    ):
        command = option(command)
    return command


def make(
    kind: str,
    purpose: str,
    out: Path,
    *,
    language: str | None = None,
    user: str | None = None,
    name: str | None = None,
    first: datetime | None = None,
    end: datetime | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Make a report of a kind, print what it found, and end with its exit code."""
    from reports.issue import issue  # here: the page layout takes a second to load, which only this needs
    from reports.kind import Wanted
    from reports.kinds import kind_of
    from reports.period import period_of
    from service.desk import desk_of

    with acting(user) as vault, progress(kind) as show:
        book = wiring.rule_book(vault)
        subject = None if name is None else ledgers.get(vault, name)
        places = () if subject is None else subject.genesis.jurisdictions
        period = period_of(book, places, first and first.date(), end and end.date())
        wanted = Wanted(subject, book, period, purpose, options=options or {})
        with desk_of(homes.default_path(), vault, language) as desk:
            made = issue(
                vault,
                kind_of(kind),
                wanted,
                out,
                desk=desk,
                progress=lambda _name, done, total: show(done, total),
            )
    tell(made)


def tell(made: Issued) -> None:
    """Print what was made, and end with the exit code of what it tells."""
    found = made.collected
    lines = [f"{made.path}: {made.pages} pages, {made.size:,} bytes, {made.signed or 'not signed'}"]
    lines += [found.words] if found.words else []
    lines += [f"  {problem}" for problem in made.problems]
    document = {
        "file": str(made.path),
        "report": made.report,
        "kind": made.kind,
        "sha256": made.sha256.hex(),
        "pages": made.pages,
        "bytes": made.size,
        "event": made.event,
        "signed": made.signed or None,
        "problems": [str(problem) for problem in made.problems],
    }
    say("\n".join(lines), document | dict(found.document))
    if found.verdict != "OK":
        sys.exit(Verdict[found.verdict].exit_code)
    if made.problems:
        sys.exit(WITH_PROBLEMS)
