"""Figures of what others vouch for: when they last did, and whether the policy is met (docs/reference/metrics.md)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vault import outside
from vault.context import Vault
from vault.core.errors import VaultError


class OutsideState(NamedTuple):
    """How it stands. Times are Unix seconds, 0: never; None where nobody of that kind is asked."""

    witnessed: float | None
    stamped: float | None
    unmet: int
    problems: int


def read(vault: Vault) -> OutsideState | None:
    """Return how it stands; None where nobody is asked, or where that cannot be told."""
    try:
        policy = vault.checkpoints.policy()
        if not policy.active:
            return None
        found = outside.assured(vault)
        unmet = outside.unmet(vault.checkpoints, vault.events, vault.clock())
    except VaultError:
        return None
    return OutsideState(
        _seconds(found.witnessed_at) if policy.asked else None,
        _seconds(found.stamped_at) if policy.stamping else None,
        int(bool(unmet)),
        len(found.problems),
    )


class OutsideFigures(Collector):
    """Tells what was read when somebody asked; nothing where nobody vouches."""

    def __init__(self) -> None:
        self.found: OutsideState | None = None

    def describe(self) -> Iterator[Metric]:
        """Nothing: there may be no answer."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the figures."""
        if self.found is None:
            return
        witnessed, stamped, unmet, problems = self.found
        if witnessed is not None:
            yield GaugeMetricFamily("reasonvault_witnessed_timestamp_seconds", "When one last cosigned.", witnessed)
        if stamped is not None:
            yield GaugeMetricFamily("reasonvault_stamped_timestamp_seconds", "What the last stamp says.", stamped)
        yield GaugeMetricFamily("reasonvault_outside_unmet", "1 while the policy is not met.", unmet)
        yield GaugeMetricFamily("reasonvault_outside_problems", "What is wrong with evidence from outside.", problems)


def _seconds(at: datetime | None) -> float:
    return 0.0 if at is None else at.timestamp()
