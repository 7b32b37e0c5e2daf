"""``rules``: the retention rule book in force, those before it, and how the next one comes into force."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import click

from retention import adoption
from retention.books import adopted, packaged
from retention.comparing import REACH, Change, Terms, compare
from retention.history import Adopted, History
from retention.rules import Rule, RuleBook
from service.commands.access import logged_in
from service.commands.moments import instant
from service.terminal import Commands, opened_vault, say
from vault import ledgers
from vault.context import Vault
from vault.core.canonical import b64
from vault.core.errors import UsageError

_LEAST_DIGEST = 6


@click.group(cls=Commands)
def rules() -> None:
    """Retention rules: how long the law wants records kept. Engineering input, not legal advice."""


@rules.command("list")
@click.option("--book", "name", metavar="VERSION|DIGEST", help="Another book than the one in force.")
def list_rules(name: str | None) -> None:
    """List the rules of the book in force: how long, from when, for whom, how well checked, and the instrument."""
    with opened_vault() as vault:
        books = adopted(vault)
        book = books[-1] if name is None else _named(books, name)
    rows = [_document(rule) for rule in book.rules.values()]
    form = "{id:<14} {minimum:<5} {trigger:<22} {applies:<8} {status:<10} {instrument}"
    said = [form.format(**row) + _effect(rule) for row, rule in zip(rows, book.rules.values(), strict=True)]
    state = "in force" if book.digest == books[-1].digest else "not in force"
    head = f"rule book {book.version}  {b64(book.digest)}  {state}"
    say("\n".join([head, *said]), {"version": book.version, "rulebook": b64(book.digest), "rules": rows})


@rules.command("show")
@click.argument("rule_id")
def show_rule(rule_id: str) -> None:
    """Show a rule: its source, its note, the time zone that counts, and how the books in force stated it."""
    with opened_vault() as vault:
        books, history = adopted(vault), History.read(vault)
    found = [(book, told) for book, told in zip(books, history.books, strict=True) if rule_id in book.rules]
    if not found:
        raise UsageError(f"no rule book that was in force has a rule {rule_id!r}: see 'reasonvault rules list'")
    book = found[-1][0]
    rule = book.rules[rule_id]
    past = [_stated(one, told) | _document(one.rules[rule_id]) for one, told in found]
    zone = "of every jurisdiction concerned" if rule.jurisdiction == "*" else book.jurisdictions[rule.jurisdiction].zone
    document = _document(rule) | {"zone": zone, "in_force": book is books[-1], "history": past}
    words = [
        f"{name.replace('_', ' '):<16} {document[name]}" for name in document if name not in ("in_force", "history")
    ]
    if not document["in_force"]:
        words.append(f"The book in force, {books[-1].version}, leaves it out; ledgers that opted in keep it.")
    words += ["history:", *(f"  {one['adopted_at']}  {one['version']}: {_stated_words(one)}" for one in past)]
    say("\n".join(words), document)


@rules.command("diff")
@click.argument("other", metavar="FILE|VERSION")
def diff_rules(other: str) -> None:
    """Compare the book in force with a file or another book: what gets longer or shorter, and for whom."""
    with opened_vault() as vault:
        books = adopted(vault)
        new = adoption.checked(_content(Path(other))) if Path(other).exists() else _named(books, other)
        changes = compare(books[-1], new, _terms(vault))
    head = f"{books[-1].version} -> {new.version}: {len(changes)} differences"
    words = [f"  {one.kind:<8} {one.id:<14} {one.what}\n{_reach(one)}" for one in changes]
    document = {
        "old": books[-1].version,
        "new": new.version,
        "rulebook": b64(new.digest),
        "changes": [
            {"kind": one.kind, "id": one.id, "what": one.what, "reach": REACH[one.kind], "ledgers": one.ledgers}
            for one in changes
        ],
    }
    say("\n".join([head, *words]), document)


@rules.command("adopt")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--user", "name", required=True, help="Your local account, a compliance officer's.")
def adopt_rules(file: Path, name: str) -> None:
    """Propose a rule book, or adopt it where another officer proposed the very same bytes."""
    content = _content(file)
    with logged_in(name) as vault:
        step = adoption.propose_or_adopt(vault, content)
    facts = {"version": step.book.version, "rulebook": b64(step.book.digest), "event": step.event}
    if step.done == "adopted":
        words = f"adopted: rule book {step.book.version} is in force for new records, and lengthens what is kept"
    else:
        words = f"proposed: rule book {step.book.version}; another officer has to adopt the same file"
    say(f"{words}\n{facts['rulebook']}", {"done": step.done} | facts)


def _named(books: Sequence[RuleBook], name: str) -> RuleBook:
    known = {one.digest: one for one in (*packaged().values(), *books)}
    digest = name if len(name) >= _LEAST_DIGEST else None
    for one in known.values():
        spelled = (b64(one.digest), one.digest.hex())
        if one.version == name or (digest and any(text.startswith(digest) for text in spelled)):
            return one
    raise UsageError(
        f"no rule book {name[:64]!r} was in force here: a version, or the beginning of a digest, names one"
    )


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None


def _terms(vault: Vault) -> list[Terms]:
    found = [one for one in ledgers.listing(vault) if one.row.kind == "decisions"]
    return [Terms(one.row.name, one.genesis.jurisdictions, one.genesis.rules) for one in found]


def _document(rule: Rule) -> dict[str, Any]:
    names = ("id", "jurisdiction", "instrument", "minimum", "trigger", "erase", "applies", "status")
    said: dict[str, Any] = {name: getattr(rule, name) for name in names}
    for name in ("effective_from", "effective_until"):
        day: date | None = getattr(rule, name)
        said |= {} if day is None else {name: day.isoformat()}
    return said | ({"note": rule.note} if rule.note else {})


def _effect(rule: Rule) -> str:
    first, end = rule.effective_from, rule.effective_until
    return (f", from {first}" if first else "") + (f", until {end}" if end else "")


def _stated(book: RuleBook, told: Adopted) -> dict[str, Any]:
    return {"version": book.version, "rulebook": b64(book.digest), "adopted_at": instant(told.at)}


def _stated_words(one: dict[str, Any]) -> str:
    return " ".join(str(one[name]) for name in ("minimum", "trigger", "applies", "status"))


def _reach(change: Change) -> str:
    number = f"{change.ledgers} ledger{'' if change.ledgers == 1 else 's'} concerned"
    return f"           {REACH[change.kind]}; {number}"
