"""Which kinds of reports there are. A kind's module is loaded when it is asked for: the page layout takes a second."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from reports.kind import Kind
from vault.core.errors import UsageError

_MODULES: Final = {
    "access": "reports.access.kind",
    "evidence": "reports.evidence",
    "integrity": "reports.integrity.kind",
    "retention": "reports.keeping.kind",
    "completeness": "reports.completeness.kind",
    "cost": "reports.cost.kind",
    "dossier": "reports.dossier.kind",
    "threshold": "reports.threshold.kind",
}

NAMES: Final = tuple(_MODULES)


def kind_of(name: str) -> Kind:
    """Return a kind by its name.

    Raises:
        UsageError: there is no such kind.
    """
    if name not in _MODULES:
        raise UsageError(f"no report is of the kind {name[:40]!r}: choose one of {', '.join(NAMES)}")
    found = import_module(_MODULES[name]).KIND
    assert isinstance(found, Kind)
    return found
