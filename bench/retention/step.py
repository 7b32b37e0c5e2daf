"""One step in a process of its own, so that its memory and its caches are nobody else's.

    python -m bench.retention.step < TASK.json > ANSWER.json

Each verb is the product's own, called as its command calls it. The passphrase is guarded cheaply, as in ``bench.ours``.
"""

from __future__ import annotations

import os
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.contender import Wrong
from bench.http.installation import LEDGER, PHRASE
from bench.measure import Peak, Reading, Stopwatch
from bench.retention import archive
from bench.retention.timing import APPROVE, PLAN, RUN, Timing
from retention import approvers, destroying, disposal, imports
from retention.plan import CoolingOff, plan
from service import wiring
from vault import audit, generations, ledgers, moving, people, shred
from vault.context import Actor, Vault
from vault.core.errors import VaultError
from vault.core.groups import stem_of
from vault.keys.keyfile import KeyDirectory
from vault.keys.slots import Argon2Cost
from vault.settling import Status
from vault.verdict import Depth

_CHEAP = Argon2Cost(memory_kib=8, passes=1, lanes=1)
_AT_ONCE = CoolingOff(0, 0)
_NAMES = ("olaf", "petra", "rita")
_VERIFIER = urlsafe_b64encode(bytes(32)).decode().rstrip("=")  # of no password: nobody logs in


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What to do.

    Attributes:
        verb: one of VERBS.
        home, dsn, admin_dsn, server_pid: where; as in ``bench.contender.Task``.
        officers: (id, generation) of three officers, as ``make`` answered.
        file: to import.
        disposal: its id; of ``approve`` and ``run``.
        tenth: which one to plan, from 0: what was due when that one was and the next was not.
        processes: for moving.
    """

    verb: str
    home: Path
    dsn: str
    admin_dsn: str
    server_pid: int | None = None
    officers: list[tuple[str, int]] = []
    file: Path = Path()
    disposal: str = ""
    tenth: int = 0
    processes: int = 2


class Answer(msgspec.Struct, frozen=True):
    """What came of it.

    Attributes:
        seconds: of the parts that were timed, by label.
        began, ended: of the step's own time, on the machine's monotonic clock.
        groups: that hold entries, or died.
    """

    reading: Reading
    seconds: dict[str, float] = {}
    officers: list[tuple[str, int]] = []
    disposal: str = ""
    groups: int = 0
    began: float = 0.0
    ended: float = 0.0
    memory: Peak | None = None


def make(task: Task, clock: Stopwatch) -> Answer:
    """Make a vault, a ledger and three officers with an approver's key each."""
    task.home.mkdir(mode=0o700, parents=True)
    KeyDirectory.create(task.home / "keys", PHRASE, clock=time.monotonic, cost=_CHEAP).close()
    with clock:
        wiring.initialise(task.home, PHRASE)
        with wiring.open_vault(task.home, PHRASE) as vault:
            ledgers.create(vault, LEDGER, ("CN", "SG"), ())
            made = [people.add(vault, name, ("officer",), _VERIFIER) for name in _NAMES]
            officers = [(one.id, one.generation) for one in made]
            for at in range(len(officers)):
                approvers.register(_as(vault, officers[at]), _key(at).public_key().public_bytes_raw())
    return Answer(clock.reading(1), officers=officers)


def take_in(task: Task, clock: Stopwatch) -> Answer:
    """Ask for an import, approve it, and run it; the running is timed."""
    with wiring.open_vault(task.home, PHRASE) as vault:
        ledger = ledgers.get(vault, LEDGER)
        asking = _as(vault, task.officers[0])
        asked = imports.request(asking, ledger, task.file, "bench", "history", os.urandom).asked
        imports.approve(_as(vault, task.officers[1]), asked.id)
        accepted = refused = 0
        with clock:
            for _, batch in imports.run(vault, asked.id, task.file):
                results = batch.results if batch is not None else ()
                fine = sum(result.status is Status.ACCEPTED for result in results)
                accepted, refused = accepted + fine, refused + len(results) - fine
    if refused:
        raise Wrong(f"{refused} of {accepted + refused} records were not accepted")
    return Answer(clock.reading(accepted))


def make_plan(task: Task, clock: Stopwatch) -> Answer:
    """Plan a disposal of what is due, as the first officer."""
    with wiring.open_for_retention(task.home, PHRASE) as vault:
        now = archive.MOMENTS[task.tenth]
        with clock, Timing(PLAN) as timing:
            made = plan(_as(vault, task.officers[0]), ledgers.get(vault, LEDGER), now=now, cooling_off=_AT_ONCE)
    if not made.id:
        raise Wrong("nothing was due")
    return Answer(clock.reading(made.entries), timing.seconds(), disposal=made.id, groups=len(made.groups))


def approve(task: Task, clock: Stopwatch) -> Answer:
    """Approve as the other two; cooling-off takes no time here."""
    with wiring.open_for_retention(task.home, PHRASE) as vault, clock, Timing(APPROVE) as timing:
        for at in (1, 2):
            told = disposal.approve(_as(vault, task.officers[at]), task.disposal, _key(at))
    time.sleep(max(0.0, told.not_before - time.time()))
    return Answer(clock.reading(told.count), timing.seconds())


def run(task: Task, clock: Stopwatch) -> Answer:
    """Run a disposal from step 5 to its end."""
    with wiring.open_for_retention(task.home, PHRASE) as vault:
        began = time.monotonic()
        with clock, Timing(RUN) as timing:
            done = destroying.run(vault, task.disposal)
        ended = time.monotonic()
    if done.excepted:
        raise Wrong(f"{done.excepted} records were kept that should have been destroyed")
    return Answer(clock.reading(done.entries), timing.seconds(), began=began, ended=ended)


def move(task: Task, clock: Stopwatch) -> Answer:
    """Give every group of the ledger another key, as ``rekeying.rekey`` does with one; the moving is timed."""
    with wiring.open_for_retention(task.home, PHRASE) as vault:
        ledger = ledgers.get(vault, LEDGER).id
        with vault.engine.connect() as connection:
            names = [name for name, state in generations.states(connection, ledger).items() if state == "live"]
        generations.close(vault, ledger, names)
        with clock:
            moved = moving.move(
                vault, ledger, names, lambda opened: stem_of(opened.group), reason="bench", processes=task.processes
            )
        shred.destroy(vault, ledger, names, reason="bench", expect=None)
    return Answer(clock.reading(sum(one.count for one in moved)), groups=len(names))


def verify(task: Task, clock: Stopwatch) -> Answer:
    """Verify everything in one process, without keys."""
    with wiring.open_sealed(task.home) as sealed, clock:
        reports = audit.audit(sealed.engine, sealed.checkpoints, sealed.identity.events, Depth.ENVELOPES)
    if any(report.counts for report in reports):
        raise Wrong("the verifier found a fault")
    return Answer(clock.reading(sum(report.entries for report in reports)))


VERBS: dict[str, Callable[[Task, Stopwatch], Answer]] = {
    "make": make,
    "import": take_in,
    "plan": make_plan,
    "approve": approve,
    "run": run,
    "move": move,
    "verify": verify,
}


def _as(vault: Vault, officer: tuple[str, int]) -> Vault:
    name, generation = officer
    return vault.acting(Actor(name, break_glass=False, roles=frozenset({"officer"}), generation=generation))


def _key(at: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(_NAMES[at].encode().ljust(32, b"."))


def main() -> None:
    """Read a task from standard input, do it, write the answer to standard output."""
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task, dec_hook=lambda _kind, text: Path(text))
    os.environ["DATABASE_URL"] = os.environ["DATABASE_OWNER_URL"] = task.dsn
    try:
        answer = VERBS[task.verb](task, Stopwatch(task.admin_dsn, task.server_pid))
    except (Wrong, VaultError) as error:
        sys.exit(f"{task.verb}: {error}")
    sys.stdout.buffer.write(msgspec.json.encode(answer))


if __name__ == "__main__":
    main()
