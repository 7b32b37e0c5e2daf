"""Random bytes, drawn from the system in blocks: a record takes four small draws, and each call of the system's lets
another thread of the process run first.

    draw(32)

Every thread has a block of its own, and takes what it has not given out yet; no byte is given out twice. A forked
process begins with none, since its parent would give out the same ones. What is not given out yet lies in memory, like
every key in use.
"""

from __future__ import annotations

import os
import threading
from typing import Final

_BLOCK: Final = 4096


class _Block(threading.local):
    """What one thread has left; ``process`` counts the forks behind it."""

    process = -1
    at = 0
    data = b""


_block = _Block()
_forks = 0


def draw(count: int) -> bytes:
    """Return unpredictable bytes, as ``os.urandom`` does."""
    block = _block
    end = block.at + count
    if block.process != _forks or end > len(block.data):
        if count > _BLOCK:
            return os.urandom(count)
        block.process, block.at, block.data = _forks, 0, os.urandom(_BLOCK)
        end = count
    drawn = block.data[block.at : end]
    block.at = end
    return drawn


def _forked() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_forked)
