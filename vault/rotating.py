"""Rotating: another key signs the checkpoints, and the one before it goes on vouching for what it signed.

begin:

    1. the key store makes ``checkpoint.<n>``
    2. event ``signer.added``, under a checkpoint of the current key
    3. ``vault.json`` lists the key as joining: from here on every process signs with both
    4. what lies in ``checkpoints`` gets the second signature, so that nothing there stands on the old key alone

finish, when everybody who checks signatures has the new verifier key:

    5. as 4, once more: nothing is left that a crash kept from it
    6. event ``signer.retired``, with the size of every ledger: the old key vouches for no larger tree
    7. ``vault.json`` lists the old key as retired: from here on the new one signs alone

A crash after any step is completed by the same call: each step looks for its own result first. No event is told of a
key that is relied on already. Between 6 and 7 both keys sign, which is no fault: a head of both has the new one's
signature. A key that was stolen signs nothing that passes after 7: not a head, which needs the current key's, nor an
old note of more entries than 6 counted. What a thief signs below that size is told from the truth by the chain, by
anchors, and by what others keep; so a stolen key is a reason to compare those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from vault import events
from vault.context import Vault
from vault.core import canonical, signer
from vault.core.errors import Forked, UsageError
from vault.core.note import VerifierKey
from vault.core.signer import Signer, Signers, Told
from vault.core.standing import Standing
from vault.events import Event, Ruling

_LEDGERS: Final = 40
"""Ledgers whose sizes one event holds: a leaf has at most 4 KiB."""


class Keeper(NamedTuple):
    """Where keys and their list are kept; one rotation at a time is the caller's to see to.

    Attributes:
        make: makes the signing key of a name, or finds it; returns its public half.
        keep: writes the list into ``vault.json``, so that a crash leaves the old or the new one.
    """

    make: Callable[[str], bytes]
    keep: Callable[[Signers], None]


def begin(vault: Vault, keeper: Keeper) -> Signer:
    """Steps 1 to 4. Returns the key that joins; called again during a rotation, it completes what is missing.

    Raises:
        Forked: what lies in ``checkpoints`` is not all of the current key; nothing is signed again.
    """
    listed = vault.checkpoints.signers()
    joins = signer.joining(listed)
    if joins is None:
        _require_signed(vault)
        name = f"checkpoint.{len(listed) + 1}"
        public = keeper.make(name)
        _tell(vault, "signer.added", name, public, lambda told: told is not None and told.added is not None)
        keeper.keep(signer.begun(listed, name, public))
        joins = Signer(name, public.hex(), "joining")
    _renew(vault)
    return joins


def finish(vault: Vault, keeper: Keeper) -> Signer:
    """Steps 5 to 7. Returns the key that is retired.

    Raises:
        UsageError: no rotation has begun.
        Forked: as ``begin``.
    """
    listed = vault.checkpoints.signers()
    if signer.joining(listed) is None:
        raise UsageError("no rotation has begun: 'reasonvault checkpoint rotate begin' first")
    _renew(vault)
    old = signer.current(listed)
    _tell(vault, "signer.retired", old.name, old.public_key, lambda told: told is not None and told.retired is not None)
    sizes = vault.register.standing().signers[old.public].sizes
    keeper.keep(signer.finished(listed, sizes))
    return old


def _require_signed(vault: Vault) -> None:
    for ledger in vault.checkpoints.ledgers():
        vault.checkpoints.read(ledger)
        vault.checkpoints.pending(ledger)


def _renew(vault: Vault) -> None:
    """Steps 4 and 5."""
    for ledger in vault.checkpoints.ledgers():
        vault.checkpoints.renew(ledger)


def _tell(vault: Vault, event: str, name: str, public: bytes, done: Callable[[Told | None], bool]) -> None:
    """Steps 2 and 6: commit the event, under the events ledger's lock, unless it is there."""

    def decide(standing: Standing) -> Ruling[None]:
        if done(standing.signers.get(public.hex())):
            return Ruling((), None)
        return Ruling(list(_events(vault, event, name, public, standing.size)), None)

    events.rule(vault, decide, plain=True)


def _events(vault: Vault, event: str, name: str, public: bytes, size: int) -> Iterator[Event]:
    """One event or, of a vault with many ledgers, several in one transaction that differ in the ledgers they name."""
    sizes = {str(vault.events): size}
    for ledger in vault.checkpoints.ledgers():
        found = vault.checkpoints.read(ledger)
        if found is None:
            raise Forked("the checkpoint outside the database is missing", str(ledger))
        lost = vault.checkpoints.lost(ledger)  # of a frozen one it vouches for all that was signed: receipts, the loss
        largest = max(found.size, lost.size if lost else 0)
        if ledger != vault.events and largest:
            sizes[str(ledger)] = largest
    facts: dict[str, Any] = {
        "signer": name,
        "public": canonical.b64(public),
        "verifier": str(VerifierKey.from_public(vault.checkpoints.origin(vault.events), public)),
    }
    told = sorted(sizes)
    for at in range(0, len(told), _LEDGERS):
        part = told[at : at + _LEDGERS]
        more = {"ledgers": part, "sizes": [sizes[ledger] for ledger in part]}
        if event == "signer.added":
            yield Event("signer.added", facts | more)
        else:
            yield Event("signer.retired", facts | more)
