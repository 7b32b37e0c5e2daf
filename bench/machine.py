"""The machine a table was made on: what a reader needs to tell whether it resembles theirs."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def facts() -> dict[str, str]:
    """Return cores, processor, memory, kernel and Python; what the system does not tell is left out."""
    found = {
        "cores": str(_cores()),
        "processor": _field(Path("/proc/cpuinfo"), "model name") or platform.processor(),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }
    return {name: value for name, value in found.items() if value}


def _cores() -> int:
    """Return the cores this process may use, which in a container are not all there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> str:
    size = _field(Path("/proc/meminfo"), "MemTotal").removesuffix(" kB")
    return f"{int(size) / 2**20:.0f} GiB" if size.isdigit() else ""


def _field(file: Path, name: str) -> str:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
