"""One error tree, sorted by who must act.

Every error is one clear line: what, where, what to do. It never carries record content, a card number or a key.
``exit_code`` is what the command line ends with.

    VaultError
      UsageError      2   the caller: the command or the configuration is wrong
        Misconfigured     the operator, where the caller is somebody else: the database lets the vault do too little
      RefusedInput    3   the producer: this record cannot be kept as it is
      Denied          4   the auditor or the compliance officer: a right is missing
        Unknown           there is no such thing, or none that whoever asks may know of
      Unavailable     5   the operator: wait or repair, then try again; nothing was lost
        KeyUnavailable    a key cannot be reached just now (retryable)
        KeyGone           a key does not exist, is disabled or destroyed (permanent)
        UnknownOutcome    a commit whose result nobody knows; a retry with the same ids settles it
      Stale               nobody: a decision was prepared for what is not so any more; its maker looks again
      Destroyed       6   nobody: the record was destroyed by policy, and no way leads back
      EvidenceError       everybody: what is stored does not match what was promised
        Modified     10
        Missing      11
        Forked       12
          LedgerFrozen    the ledger lost entries and takes nothing any more; another one goes on in its place
"""

from __future__ import annotations


class VaultError(Exception):
    """Base of all errors of the vault. ``str(error)`` is the one line shown to people."""

    exit_code = 1


class UsageError(VaultError):
    """The command, its arguments or the configuration cannot work."""

    exit_code = 2


class Misconfigured(UsageError):
    """The configuration cannot work, whatever is asked: a request over the network is not to blame for it."""


class RefusedInput(VaultError):
    """A record that cannot be kept as it is.

    Attributes:
        reason: one clear sentence, free of record content.
        path: JSON path of the fault, such as ``$.decision.executed.amount``; ``$`` is the whole document.
        code: a stable word for machines, such as ``card_number`` or ``duplicate_key``.
    """

    exit_code = 3

    def __init__(self, reason: str, path: str = "$", code: str = "invalid") -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason
        self.path = path
        self.code = code

    def __reduce__(self) -> tuple[type[RefusedInput], tuple[str, str, str]]:
        return type(self), (self.reason, self.path, self.code)


class Denied(VaultError):
    """A right is missing: wrong passphrase, no grant, wrong role."""

    exit_code = 4


class Unknown(Denied):
    """There is no such thing, or none that whoever asks may know of: both are told alike."""


class Unavailable(VaultError):
    """Something the vault needs cannot be reached or written. Retry later; nothing acknowledged is lost."""

    exit_code = 5


class KeyUnavailable(Unavailable):
    """A key cannot be reached just now; the same call may work later."""


class KeyGone(Unavailable):
    """A key does not exist, is disabled or destroyed; the same call will not work again."""


class UnknownOutcome(Unavailable):
    """The connection or the commit ended without an answer; only a retry with the same ids can tell."""


class Stale(VaultError):
    """Raised by a decision (vault.events.rule): what was looked at before it is not so any more. Nothing was committed;
    whoever asked looks again, and nobody is shown this."""


class Destroyed(VaultError):
    """What is asked for was destroyed by policy, and its evidence holds.

    Attributes:
        disposal: id of the disposal that did it.
        at: when its keys began to die, RFC 3339 UTC, as the vault says.
    """

    exit_code = 6

    def __init__(self, disposal: str, at: str) -> None:
        super().__init__(
            f"this record was destroyed by policy on {at[:10]}, disposal {disposal}: its certificate says how"
        )
        self.disposal = disposal
        self.at = at

    def __reduce__(self) -> tuple[type[Destroyed], tuple[str, str]]:
        return type(self), (self.disposal, self.at)


class EvidenceError(VaultError):
    """What is stored does not match what was promised. ``ledger`` and ``seq`` say where, when known."""

    def __init__(self, what: str, ledger: str | None = None, seq: int | None = None) -> None:
        place = "".join((f" ledger {ledger}" if ledger else "", f" seq {seq}" if seq is not None else ""))
        super().__init__(f"{what}{' at' + place if place else ''}")
        self.ledger = ledger
        self.seq = seq


class Modified(EvidenceError):
    """Bytes differ from what the leaf, the chain or the checkpoint commits to."""

    exit_code = 10


class Missing(EvidenceError):
    """An entry, a ledger or an envelope is not there and no valid erasure explains it."""

    exit_code = 11


class Forked(EvidenceError):
    """The database tells another history than the last checkpoint outside it."""

    exit_code = 12


class LedgerFrozen(Forked):
    """The ledger lost entries, and officers froze it: it takes nothing any more, whatever its database becomes.

    Attributes:
        name: of the ledger that goes on in its place; "" where whoever raises does not know.
    """

    def __init__(self, name: str = "", ledger: str | None = None) -> None:
        where = f"use ledger {name}" if name else "'reasonvault ledger list' names the one that goes on in its place"
        super().__init__(f"this ledger is frozen, since it lost entries: {where}", ledger)
        self.name = name

    def __reduce__(self) -> tuple[type[LedgerFrozen], tuple[str, str | None]]:
        return type(self), (self.name, self.ledger)
