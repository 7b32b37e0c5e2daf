"""What retention needs to know about a record, and what it answers: the two types that intake passes across.

``vault`` never imports ``retention``. Intake is handed a ``Callable[[Facts], Keeping]`` and freezes the
answer into the leaf, so that nobody can later say that another rule applied when the record was written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from vault.core.flags import Flag


class Facts(NamedTuple):
    """The facts of one record that start retention periods. Instants are Unix microseconds, UTC.

    Attributes:
        occurred_at_us: when the decision was complete, as the producer says.
        received_at_us: the vault's own clock when the record came in; no producer can choose it.
        executed_at_us: ``decision.executed_at``; None when the record does not say.
        jurisdictions: ISO 3166-1 alpha-2 codes as the record names them, already checked by the parser.
        record_class: as the record names it.
        dates_trigger: the record itself reports the awaited event (``relates_to`` of kind ``dates``), so that
            a period which waits for such an event starts for this record at ``occurred_at``.
        told: (trigger, Unix microseconds) of what was reported about the record since it was written; empty at intake.
    """

    occurred_at_us: int
    received_at_us: int
    executed_at_us: int | None
    jurisdictions: tuple[str, ...]
    record_class: str
    dates_trigger: bool = False
    told: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long one record is kept, and why. Frozen into the leaf (``flags`` into the facets).

    Attributes:
        keep_until: Unix seconds UTC of the first instant at which the record may be destroyed; None =
        open-ended.
        group: ``<YYYY-MM>.<generation>``: the UTC month of ``keep_until``, generation 0 at write;
            ``open.0`` when ``keep_until`` is None.
        rules: ids of every rule that applied, sorted; not only of the one that decided.
        erase_by: Unix seconds UTC from which some rule demands erasure; None when none does or it has no
        date yet.
        flags: UNCONFIGURED_JURISDICTION, ERASURE_CONFLICT, OPEN_ENDED, TRANSACTION_PRESUMED, as they apply.
    """

    keep_until: int | None
    group: str
    rules: tuple[str, ...]
    erase_by: int | None
    flags: Flag
