"""The vault, by its library path: what ``reasonvault ingest`` and ``reasonvault verify`` run, guard and all.

Receipts are not written. The passphrase is guarded cheaply, since opening the key store is not what is measured and its
memory would stand in every peak.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.contender import Task, Wrong
from bench.measure import Stopwatch
from service import wiring
from vault import audit, intake, ledgers, lines
from vault.context import Vault
from vault.keys.keyfile import KeyDirectory
from vault.keys.slots import Argon2Cost
from vault.settling import Status
from vault.verdict import Depth

PASSPHRASE = b"a benchmark has no secrets"
_CHEAP = Argon2Cost(memory_kib=8, passes=1, lanes=1)
LEDGER = "bench"


def ingest(task: Task, clock: Stopwatch) -> int:
    """Make a vault and take all records in; return how many.

    Raises:
        Wrong: a record was not accepted.
    """
    accepted = refused = 0
    with vault_at(task.home, task.dsn) as vault, lines.opened(task.records) as stream:
        ledger = ledgers.create(vault, LEDGER, ("CN", "SG"), ())
        with clock:
            for batch in intake.ingest(vault, ledger, lines.numbered(stream), "bench", processes=task.processes):
                fine = sum(result.status is Status.ACCEPTED for result in batch.results)
                accepted += fine
                refused += len(batch.results) - fine
    if refused:
        raise Wrong(f"{refused} of {accepted + refused} records were not accepted")
    return accepted


@contextmanager
def vault_at(home: Path, dsn: str) -> Iterator[Vault]:
    """Make a vault in a folder and a database of its own, and yield it opened."""
    use(dsn)
    home.mkdir(mode=0o700, parents=True)
    KeyDirectory.create(home / "keys", PASSPHRASE, clock=time.monotonic, cost=_CHEAP).close()
    wiring.initialise(home, PASSPHRASE)
    with wiring.open_vault(home, PASSPHRASE) as vault:
        yield vault


def verify(task: Task, clock: Stopwatch) -> int:
    """Verify the vault that ``ingest`` left, in one process; return how many entries were read.

    Raises:
        Wrong: the verifier found a fault.
    """
    use(task.dsn)
    depth = Depth(task.depth)
    if depth is Depth.OPEN:
        with wiring.open_vault(task.home, PASSPHRASE) as vault, clock:
            reports = audit.audit(vault.engine, vault.checkpoints, vault.events, depth, ring=vault.ring)
    else:
        with wiring.open_sealed(task.home) as sealed, clock:
            reports = audit.audit(sealed.engine, sealed.checkpoints, sealed.identity.events, depth)
    if any(report.counts for report in reports):
        raise Wrong("the verifier found a fault")
    return sum(report.entries for report in reports)


def use(dsn: str) -> None:
    """Point the vault at the run's own database. This process does nothing else, so its environment may change."""
    os.environ["DATABASE_URL"] = os.environ["DATABASE_OWNER_URL"] = dsn
