"""Adoption of rule books: who may propose one and who may adopt it. Four eyes, as for grants.

Pure decisions over plain values: a reason why not, or None. What a book says is ``retention``'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vault.core.governance import Governance

NO_OFFICER: Final = "only a compliance officer who logged in proposes or adopts a rule book"
OWN: Final = "nobody adopts the rule book that they proposed: another officer has to"


def why_no_proposal(
    all_: Governance, roles: frozenset[str], rulebook: str, version: str, versions: Mapping[str, str]
) -> str | None:
    """Return why a book may not be proposed, None when it may.

    Args:
        rulebook: its digest, base64url.
        versions: digest -> version of the books that were in force.
    """
    if "officer" not in roles:
        return NO_OFFICER
    if rulebook in all_.proposals:
        return "this rule book is proposed already"
    return _why_unfit(all_, rulebook, version, versions)


def why_no_adoption(
    all_: Governance, person: str, roles: frozenset[str], rulebook: str, version: str, versions: Mapping[str, str]
) -> str | None:
    """Return why this person may not adopt a book, None when they may; arguments as for ``why_no_proposal``."""
    if "officer" not in roles:
        return NO_OFFICER
    proposal = all_.proposals.get(rulebook)
    if proposal is None:
        return _why_unfit(all_, rulebook, version, versions) or "nobody has proposed this rule book"
    if proposal.by == person:
        return OWN
    return _why_unfit(all_, rulebook, version, versions)


def _why_unfit(all_: Governance, rulebook: str, version: str, versions: Mapping[str, str]) -> str | None:
    if not versions.keys() >= set(all_.rulebooks):
        return "another rule book was adopted meanwhile: compare this one with it first"
    if all_.rulebooks and rulebook == all_.rulebooks[-1]:
        return "this rule book is in force"
    if rulebook in all_.rulebooks:
        return (
            "this rule book was in force before: give it a version of its own, so that records tell the two times apart"
        )
    if version in versions.values():
        return f"a rule book with version {version} was in force, and it was another: choose another version"
    return None
