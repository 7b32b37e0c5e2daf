"""The auditor's verify.py: as a module, and as a stranger runs it, with nothing but `cryptography` beside it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

FILE = Path(__file__).parents[2] / "reports" / "standalone" / "verify.py"


def load() -> Any:
    """Import it from its path: it belongs to no package."""
    if (known := sys.modules.get("standalone_verify")) is not None:
        return known
    spec = importlib.util.spec_from_file_location("standalone_verify", FILE)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules["standalone_verify"] = module
    spec.loader.exec_module(module)
    return module


def check(bundle: Path, *options: str) -> Any:
    """Return the report of a bundle, as in the same process."""
    verify = load()
    path, chosen, _ = verify.arguments([str(bundle), *options])
    return verify.verify(path, chosen)


def verdict(bundle: Path, *options: str) -> str:
    return str(check(bundle, *options).verdict)


@contextmanager
def bare_python(folder: Path) -> Iterator[list[str]]:
    """Yield a command line that runs Python where only the standard library and `cryptography` can be imported."""
    import _cffi_backend
    import cryptography

    folder.mkdir()
    (folder / "cryptography").symlink_to(Path(cryptography.__file__).parent)
    backend = Path(_cffi_backend.__file__)
    (folder / backend.name).symlink_to(backend)
    start = f"import sys, runpy; sys.path.append({str(folder)!r}); sys.argv = sys.argv[1:];"
    start += "runpy.run_path(sys.argv[0], run_name='__main__')"
    yield [sys.executable, "-I", "-S", "-c", start]


def run(command: list[str], *options: str, where: Path) -> tuple[int, dict[str, Any]]:
    """Run it in a directory; return its exit code and what it printed as JSON."""
    ran = subprocess.run([*command, *options, "--json"], cwd=where, capture_output=True, text=True, check=False)
    assert not ran.stderr, ran.stderr
    return ran.returncode, json.loads(ran.stdout)
