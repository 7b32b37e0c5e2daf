"""Serving: one supervisor, some workers that share a port, and the way secrets take from one to the other.

    1. the supervisor reads settings and passphrase, and opens the vault once, so that what is wrong is said in one line
    2. it forks the workers; the passphrase goes along in memory, never in an argument or the environment
    3. each worker forks its committer, opens the vault for itself and answers; a worker that dies is replaced
    4. on SIGTERM no new connection is taken, requests under way are finished, then the vault is closed

A worker whose supervisor is gone ends itself: an orphan would keep the port, and the vault open, for ever. So does one
whose committer is gone: it could only refuse. Nobody waits for either with a kill at hand, as the supervisor does for
workers that it stops, so each has the kernel end it (see ``_end``).
"""

from __future__ import annotations

import ctypes
import functools
import multiprocessing
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import structlog

from service import committer, logs, metrics
from service.app import build
from service.settings import Settings
from service.wiring import open_vault
from vault.core.errors import Unavailable, UsageError

_PR_SET_PDEATHSIG: Final = 1
_HEAD_BYTES: Final = 65_536
_log = structlog.get_logger()


def serve(home: Path, passphrase: bytes, settings: Settings, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until told to stop.

    Args:
        ready: called in the supervisor before the workers start.

    Raises:
        VaultError: the vault cannot be opened, or the port cannot be had; nothing was served.
    """
    # Here, since only this needs them: the server's modules take a while to load.
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces, Loops
    from granian.errors import ConfigurationError
    from granian.http import HTTP1Settings

    service = settings.service
    host, port = service.address
    logs.configure(service.log_level, sys.stderr.buffer)
    with open_vault(home, passphrase):
        pass
    require_free(service.address)
    counters = home / "metrics" / str(port)  # another service of this home counts for itself
    shutil.rmtree(counters, ignore_errors=True)
    metrics.share(counters)
    multiprocessing.set_start_method("fork", force=True)
    supervisor = os.getpid()
    end = functools.partial(_end, service.stop_seconds)

    def load() -> Any:
        _end_with(supervisor, end)
        logs.configure(service.log_level, sys.stderr.buffer)
        logs.quiet_crashes()
        sys.setswitchinterval(0.001)  # a thread that computes must not hold the loop up for five milliseconds
        lanes = committer.start(home, passphrase, broken=end)
        return build(home, passphrase, settings, lanes)

    tls: dict[str, Any] = {}
    if service.tls_cert:
        tls = {"ssl_cert": Path(service.tls_cert), "ssl_key": Path(service.tls_key)}
    try:
        server = Granian(
            "reasonvault",
            address=host,
            port=port,
            interface=Interfaces.ASGI,
            workers=service.processes,
            loop=Loops.uvloop,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(
                header_read_timeout=int(service.body_seconds * 1000), max_buffer_size=_HEAD_BYTES
            ),
            websockets=False,
            backlog=1024,
            log_dictconfig=logs.GRANIAN,
            respawn_failed_workers=True,
            respawn_interval=0.5,
            workers_kill_timeout=service.stop_seconds,
            **tls,
        )
        ready()
        server.serve(target_loader=load, wrap_loader=False)
    except (ConfigurationError, OSError) as error:
        raise UsageError(f"cannot listen on {service.listen}: {error}") from None
    finally:
        shutil.rmtree(counters, ignore_errors=True)


def require_free(address: tuple[str, int]) -> None:
    """Refuse a port that somebody listens on. Workers share theirs, so a second service would silently share it too.

    Raises:
        Unavailable: the port is taken, or the address is not this machine's.
    """
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise Unavailable(f"cannot listen on {host} port {port}: {error.strerror or error}") from None


def _end(seconds: int) -> None:
    """End this worker as SIGTERM does, but within so many seconds, whatever it does by then.

    SIGTERM may be lost, while the worker starts, or wait for ever, for a request that does not end or an interpreter
    that is stuck: granian's handler blocks with the interpreter's lock held where it is called a third time. So the
    time is kept by the kernel, which needs no thread of ours to run.
    """
    signal.alarm(seconds)
    os.kill(os.getpid(), signal.SIGTERM)


def _end_with(supervisor: int, end: Callable[[], None]) -> None:
    if sys.platform == "linux":
        signal.signal(signal.SIGUSR1, lambda _number, _frame: end())
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1)
    if os.getppid() != supervisor:  # it ended before that took hold
        os._exit(1)
