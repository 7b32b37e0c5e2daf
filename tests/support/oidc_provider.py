"""A certified OpenID provider, run for real: npm's ``oidc-provider``, kept outside the repository.

    with running_provider({"lin": ["vault-auditors"], "chen": ["vault-compliance"]}) as provider:
        settings = OidcSettings(provider.issuer, "reasonvault", roles_claim="realm_access.roles", roles=...)
        headers = {"Authorization": f"Bearer {provider.token('lin')}"}

Needs node and npm, and once the npm registry; a test that has not got them is skipped, and says why.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx
import platformdirs
import pytest

_SOURCE = Path(__file__).parent / "identity_provider"
_INSTALL_SECONDS = 180


class RunningProvider:
    """The provider, as a test sees it."""

    def __init__(
        self, process: subprocess.Popen[str], complaints: IO[str], people: Mapping[str, Sequence[str]]
    ) -> None:
        self._process = process
        self._complaints = complaints
        self._secrets = {person: secrets.token_urlsafe(32) for person in people}
        clients = [
            {"id": person, "secret": self._secrets[person], "name": person.title(), "roles": list(roles)}
            for person, roles in people.items()
        ]
        self.issuer: str = self._ask(json.dumps({"clients": clients}))["issuer"]

    def token(self, person: str, *, audience: str = "reasonvault", algorithm: str = "RS256", seconds: int = 300) -> str:
        """A fresh access token of a person; RS256, PS256, ES256, EdDSA and Ed25519 are there."""
        with httpx.Client(trust_env=False) as client:
            answer = client.post(
                f"{self.issuer}/token",
                data={"grant_type": "client_credentials", "resource": f"urn:resource:{audience}:{algorithm}:{seconds}"},
                auth=(person, self._secrets[person]),
            )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def rotate_keys(self) -> None:
        """Sign with new keys from now on; the former ones stay published."""
        assert self._ask("rotate")["published"] == 6

    def withdraw_former_keys(self) -> None:
        """Publish only the keys that sign."""
        assert self._ask("withdraw")["published"] == 3

    def _ask(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            self._complaints.seek(0)
            raise AssertionError(f"the identity provider ended:\n{self._complaints.read()}")
        return dict(json.loads(answer))


@contextmanager
def running_provider(people: Mapping[str, Sequence[str]]) -> Iterator[RunningProvider]:
    """Run a provider that knows these people, each with the roles that the provider gives them."""
    node, npm = _program("node"), _program("npm")
    folder = _installed(npm)
    with tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(
            [node, str(_SOURCE / "provider.mjs"), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        )
        with process:  # closes its standard input at the end, which ends it
            try:
                yield RunningProvider(process, complaints, people)
            except BaseException:
                process.kill()
                raise


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no identity provider to test against: {name} not found")
    return path


def _installed(npm: str) -> Path:
    """Return the folder with ``node_modules``, made on the first call on this machine."""
    package = (_SOURCE / "package.json").read_bytes()
    version = json.loads(package)["dependencies"]["oidc-provider"]
    folder = Path(platformdirs.user_cache_dir("reasonvault-tests", appauthor=False)) / f"oidc-provider-{version}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        (Path(made) / "package.json").write_bytes(package)
        ran = subprocess.run(
            [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"],
            cwd=made,
            capture_output=True,
            text=True,
            check=False,
            timeout=_INSTALL_SECONDS,
        )
        if ran.returncode:
            pytest.skip(f"no identity provider to test against: npm install failed: {ran.stderr.strip()[-500:]}")
        # Whole or not at all; where another process was faster, its folder is as good.
        staged = Path(made) / "done"
        staged.mkdir()
        shutil.move(Path(made) / "node_modules", staged)
        try:
            staged.rename(folder)
        except OSError:
            assert folder.exists()
    return folder
