"""One contender's process.

python -m bench.child < TASK.json > ANSWER.json
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import cast

import msgspec

from bench.contender import Answer, Contender, NotRun, Task, Wrong
from bench.measure import Stopwatch
from vault.core.errors import VaultError

# Imported by name and late, so that no process holds what only another contender needs.
_CONTENDERS = {
    "plain_copy": "bench.plain_copy:run",
    "trigger_chain": "bench.trigger_chain:run",
    "event_sourcing": "bench.event_sourcing:run",
    "ingest": "bench.ours:ingest",
    "verify": "bench.ours:verify",
    "evidence": "bench.reports.evidence:issued",
}


def main() -> None:
    """Read a task from standard input, do it, write the answer to standard output."""
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task, dec_hook=lambda _kind, text: Path(text))
    module, _, function = _CONTENDERS[task.contender].partition(":")
    contender = cast(Contender, getattr(import_module(module), function))
    clock = Stopwatch(task.admin_dsn, task.server_pid)
    try:
        answer = Answer(clock.reading(contender(task, clock)))
    except NotRun as reason:
        answer = Answer(None, str(reason))
    except (Wrong, VaultError) as error:
        sys.exit(f"{task.contender}: {error}")
    sys.stdout.buffer.write(msgspec.json.encode(answer))


if __name__ == "__main__":
    main()
