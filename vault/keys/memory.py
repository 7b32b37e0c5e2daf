"""Best effort against keys left behind in memory.

Python copies bytes where it likes and frees them without erasing, and the crypto library keeps its own copy
of each key schedule. So nothing here is a guarantee: it shortens the time a key stands in memory and closes
the ways by which a whole process image reaches a disk. Swap is the operator's: encrypt it or turn it off.
"""

from __future__ import annotations

import ctypes
import resource
import sys
from typing import NoReturn

_PR_SET_DUMPABLE = 4  # linux/prctl.h


def wipe(secret: bytearray) -> None:
    """Overwrite in place. Copies that Python or a library made are not reached."""
    secret[:] = bytes(len(secret))


def refuse_pickle(holder: object) -> NoReturn:
    """For ``__reduce__`` of whatever holds keys: a pickle would carry them into pipes, caches and files."""
    raise TypeError(f"{type(holder).__name__} holds keys and cannot be pickled or copied")


def forbid_core_dumps() -> None:
    """No core file of this process or its children; on Linux no ``ptrace`` of this process by its own user
    either.

    Root is not stopped. Call once at start; a limit that was already lower stays. Where the kernel refuses,
    nothing happens.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
