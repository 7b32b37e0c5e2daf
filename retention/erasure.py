"""Requests for erasure: restrict now, destroy when the law lets go.

    1. find the customer's records of the named ledgers through the blind indexes; freeze one set a ledger
    2. decide under the events ledger's lock that whoever enters it may; commit one ``erasure.requested`` a ledger

From then on the records are opened for a legal duty only (vault.restricting). That is the whole queue: each is
destroyed with the others of its month, once it is due and no hold keeps it. Records that arrive later are not covered:
ask again. Customer and reason are sealed; events show a tag (vault.core.hold).
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from retention.saving import find, size_of
from vault import chronicle, events, grants, people, selections
from vault.context import Vault
from vault.core import hold
from vault.core.errors import Denied, UsageError
from vault.core.request import why_no_erasure
from vault.core.standing import Standing
from vault.events import Event, Ruling, refuse
from vault.ledgers import Ledger
from vault.matching import Terms
from vault.reading import denial

_MAX_ID = 128


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was entered.

    Attributes:
        counts: ledger's uuid -> records restricted.
        unsound: those among them that are not what their leaf says.
        before: earlier requests of the same customer for one of these ledgers, the oldest first.
    """

    request: str
    counts: Mapping[str, int]
    unsound: int
    event: int
    before: tuple[str, ...] = ()


def request_erasure(
    vault: Vault, *, ledgers: Sequence[Ledger], customer: str, reason: str, random: Callable[[int], bytes]
) -> Asked:
    """Enter somebody's request that what is kept about them be erased.

    Raises:
        Denied: whoever enters it is neither an officer nor the passphrase's holder.
        UsageError: no reason, no customer, no ledger.
        KeyUnavailable: a key of the blind indexes is out of reach.
    """

    def may(standing: Standing) -> Ruling[None] | None:
        why = why_no_erasure(vault.actor.roles_by(standing), vault.actor.break_glass)
        return None if why is None else refuse(Denied(why), denial("erasure.request", "role", {}))

    if may(vault.register.standing()) is not None:
        events.rule(vault, lambda standing: may(standing) or Ruling([], None))
    check_customer(customer)
    grants.require_text("reason", reason)
    named = sorted({str(one.id) for one in ledgers})
    if not named:
        raise UsageError("name at least one ledger")
    name = new_name(random)
    tag = hold.tag(hold.tag_key(people.person_key(vault)), "customer", customer)
    details = {"customer": customer, "reason": reason}
    happened: list[Event] = []
    counts: dict[str, int] = {}
    unsound = 0
    for ledger in named:
        size = size_of(vault, ledger)
        found = find(vault, ledger, Terms(customers=(customer,)), 0, size)
        counts[ledger] = len(found.records)
        unsound += found.unsound
        facts = {
            "request": name,
            "ledger": ledger,
            "tag": tag,
            "selection": selections.keep(vault, UUID(ledger), found.records),
            "count": counts[ledger],
            "upto": size,
        }
        happened.append(Event("erasure.requested", facts, details))
    asked = [one.facts for one in chronicle.read(vault, {"erasure.requested"})[0]]
    same = [str(one["request"]) for one in asked if one.get("tag") == tag and one.get("ledger") in counts]
    told, _ = events.rule(vault, lambda standing: may(standing) or Ruling(happened, None))
    return Asked(name, counts, unsound, told.seq, tuple(dict.fromkeys(same)))


def new_name(random: Callable[[int], bytes]) -> str:
    """Return a fresh id of a request."""
    return "q-" + b32encode(random(10)).decode().lower()


def check_customer(customer: str) -> None:
    """Raise ``UsageError`` unless a record could name this customer."""
    if not 0 < len(customer) <= _MAX_ID or not customer.isprintable():
        raise UsageError(f"a customer is named by 1 to {_MAX_ID} printable characters")
