"""Adoption: a rule book comes into force when one officer proposed it and another adopted the very same bytes.

    1. check the book: it holds together, keeps the product's floor, and lists CN and SG
    2. keep its bytes under their digest
    3. decide under the events ledger's lock, and commit ``rules.proposed`` or ``rules.adopted``

From the second event on new records live by it, in every process. A crash after 2 leaves bytes that nothing names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from retention.books import chain
from retention.rules import RuleBook, load
from vault import events, rulebooks
from vault.context import Vault
from vault.core import rules_adoption as deciding
from vault.core.canonical import b64, unb64
from vault.core.errors import Denied, UsageError, VaultError
from vault.core.standing import Standing
from vault.events import Event, Ruling, refuse
from vault.reading import denial

MUST_LIST: Final = ("CN", "SG")
"""Jurisdictions that every book in force names: the product's promise to those who pay there."""
MAX_BYTES: Final = 1_000_000


class Step(NamedTuple):
    """What was done with a book, and by which event."""

    book: RuleBook
    done: Literal["proposed", "adopted"]
    event: int


def propose(vault: Vault, content: bytes) -> Step:
    """Propose a book for adoption.

    Raises:
        UsageError: the book does not hold together, lacks what every book has, or was proposed or in force before.
        Denied: whoever proposes is no compliance officer who logged in.
    """
    book, versions = _checked(vault, content)
    return _decided(vault, content, book, versions, "proposed")


def adopt(vault: Vault, content: bytes) -> Step:
    """Adopt the book that another officer proposed, from now on.

    Raises:
        UsageError: as for ``propose``, or nobody proposed these bytes.
        Denied: whoever adopts is no compliance officer who logged in, or proposed it.
    """
    book, versions = _checked(vault, content)
    return _decided(vault, content, book, versions, "adopted")


def propose_or_adopt(vault: Vault, content: bytes) -> Step:
    """Adopt a book where somebody proposed these bytes, else propose it; raises like both."""
    book, versions = _checked(vault, content)
    proposed = b64(book.digest) in vault.register.standing().governance.proposals
    return _decided(vault, content, book, versions, "adopted" if proposed else "proposed")


def checked(content: bytes) -> RuleBook:
    """Return a book that may be adopted.

    Raises:
        UsageError: it does not hold together, keeps less than the product's floor, or does not list CN and SG.
    """
    if len(content) > MAX_BYTES:
        raise UsageError(f"rule book: larger than {MAX_BYTES} bytes")
    book = load(content)
    for code in MUST_LIST:
        if code not in book.jurisdictions:
            raise UsageError(f"rule book: jurisdiction {code} is not listed, and every book in force lists it")
    return book


def _checked(vault: Vault, content: bytes) -> tuple[RuleBook, Mapping[str, str]]:
    """Step 1, and what the books in force are called."""
    book = checked(content)
    in_force = vault.register.standing().governance.rulebooks
    books = chain(vault, [unb64(digest, 32) for digest in in_force])
    return book, {b64(one.digest): one.version for one in books}


def _decided(
    vault: Vault,
    content: bytes,
    book: RuleBook,
    versions: Mapping[str, str],
    done: Literal["proposed", "adopted"],
) -> Step:
    """Steps 2 and 3."""
    facts: dict[str, Any] = {"rulebook": b64(book.digest), "version": book.version}

    if "officer" in vault.actor.roles_by(vault.register.standing()):  # nobody else leaves bytes behind
        rulebooks.keep(vault.engine, vault.events, content)

    def decide(standing: Standing) -> Ruling[None]:
        roles, governance = vault.actor.roles_by(standing), standing.governance
        named = (facts["rulebook"], book.version, versions)
        if done == "proposed":
            why = deciding.why_no_proposal(governance, roles, *named)
        else:
            why = deciding.why_no_adoption(governance, vault.actor.name, roles, *named)
        if why is not None:
            return _refused(done, facts, why)
        if done == "proposed":
            return Ruling([Event("rules.proposed", facts)], None)
        proposal = governance.proposals[facts["rulebook"]]
        return Ruling([Event("rules.adopted", facts | {"proposal": proposal.seq})], None)

    told, _ = events.rule(vault, decide)
    return Step(book, done, told.seq)


def _refused(done: str, facts: Mapping[str, Any], why: str) -> Ruling[Any]:
    act = "rules.propose" if done == "proposed" else "rules.adopt"
    denied = {deciding.NO_OFFICER: "role", deciding.OWN: "four_eyes"}.get(why)
    error: VaultError = UsageError(why) if denied is None else Denied(why)
    return refuse(error, denial(act, denied or "unfit", dict(facts)))
