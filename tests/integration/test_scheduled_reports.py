"""Standing orders: made for each period that ended, as whoever ordered them, kept, delivered; once, whatever dies."""

from __future__ import annotations

import hashlib
import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from reports import issue as issuing
from reports import issuedlist, kinds, orders
from reports.attach import Attachment
from reports.identity import identify
from reports.kind import Collected, Kind, Pages, Progress, Wanted
from reports.phrase import phrase
from service import scheduling
from tests.support.acting import granted, happened, hire
from tests.support.vault import Installation
from vault import grants, ledgers
from vault.context import Actor, Vault
from vault.core.canonical import b64
from vault.core.errors import Denied, Unknown, VaultError
from vault.ledgers import Ledger
from vault.reading import require_whole, tell_whole

DAY = 86_400_000_000


def brief(vault: Vault, wanted: Wanted, workdir: Path, report: str, progress: Progress) -> Collected:
    """A kind with next to nothing on its pages: what orders are about is when and for whom."""
    assert wanted.ledger is not None
    ledger = wanted.ledger
    pages = Pages(
        "base.html.j2",
        identify(vault, ledger, wanted.period, wanted.purpose, report),
        phrase("Brief report"),
        [(1, "limits", phrase("What is not proved"))],
        {},
        limits=["Anything."],
    )
    return Collected(
        pages,
        [Attachment("a.txt", "a text", "text/plain", b"a")],
        {"ledger": str(ledger.id), "count": 0},
        lambda make: tell_whole(vault, ledger.id, wanted.grant, make)[0],
    )


def require(vault: Vault, ledger: Ledger | None) -> None:
    assert ledger is not None
    require_whole(vault, ledger)


BRIEF = Kind("brief", "br", phrase("Brief report"), require, brief)


@pytest.fixture(autouse=True)
def only_brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind is the brief one; nothing is made that nobody ordered."""
    monkeypatch.setattr(kinds, "kind_of", lambda _name: BRIEF)
    monkeypatch.setattr(scheduling, "kind_of", lambda _name: BRIEF)
    monkeypatch.setattr(orders, "by_default", lambda _vault, _worker: iter(()))


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.opened() as opened:
        yield opened


def ordered(vault: Vault, name: str = "cn", **more: Any) -> str:
    wanted: dict[str, Any] = {"every": "month", "purpose": "monthly audit"} | more
    return orders.place(vault, BRIEF, ledgers.get(vault, name), **wanted)


def work(installation: Installation, vault: Vault, ended: bool = True) -> dict[str, int]:
    """Run the job as the worker does; when the month of the order, and no other, has ended, or right now."""
    today = datetime.fromtimestamp(vault.clock() / 1e6, UTC)
    following = (today.replace(day=1) + timedelta(days=32)).replace(day=2)
    ahead = (following - today) // timedelta(microseconds=1) if ended else 0
    worker = replace(vault.acting(Actor("worker", break_glass=False)), clock=lambda: vault.clock() + ahead)
    return dict(scheduling.run(installation.home, worker, lambda: None))


def kept(installation: Installation) -> list[Path]:
    return sorted((installation.home / scheduling.FOLDER).glob("*.pdf"))


def test_a_report_is_made_for_the_month_that_ended_and_only_once(installation: Installation, vault: Vault) -> None:
    order = ordered(vault)
    assert work(installation, vault, ended=False) == {"made": 0, "delivered": 0}
    assert work(installation, vault) == {"made": 1, "delivered": 0}
    assert work(installation, vault) == {"made": 0, "delivered": 0}
    (event,) = [one for one in happened(vault, "report.issued") if one.facts.get("order")]
    (file,) = kept(installation)
    assert (event.facts["order"], event.facts["kind"]) == (order, "brief")
    assert event.facts["sha256"] == b64(hashlib.sha256(file.read_bytes()).digest())
    assert file.name == f"brief_cn_{order}_{event.facts['due']}.pdf"
    assert file.stat().st_mode & 0o077 == 0
    (listed,) = [one for one in issuedlist.listing(vault, 50) if one["order"]]
    assert (listed["order"], listed["due"], listed["delivered_at"]) == (order, event.facts["due"], "")


def test_what_a_killed_run_left_is_cleared_and_the_report_made(
    installation: Installation, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordered(vault)

    def dies(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(issuing, "put", dies)  # after the event, before the file
        with pytest.raises(KeyboardInterrupt):
            work(installation, vault)
    assert kept(installation) == []
    left = installation.home / scheduling.FOLDER / ".brief_cn.pdf.left"
    left.mkdir()
    (left / "population.jsonl").write_text("{}")
    assert work(installation, vault)["made"] == 1
    assert len(kept(installation)) == 1
    assert not left.exists()


def test_a_report_without_its_note_is_found_and_delivered(
    installation: Installation, vault: Vault, tmp_path: Path
) -> None:
    share = tmp_path / "share"
    share.mkdir()
    (installation.home / "delivery.toml").write_text(f'[share]\ndirectory = "{share}"\n')
    ordered(vault, destination="share")
    work(installation, vault)
    (file,) = kept(installation)
    file.with_suffix(".json").unlink()
    (share / file.name).unlink()
    assert work(installation, vault) == {"made": 0, "delivered": 1}
    assert (share / file.name).read_bytes() == file.read_bytes()


def test_somebody_elses_file_is_not_delivered(installation: Installation, vault: Vault) -> None:
    folder = installation.home / scheduling.FOLDER
    folder.mkdir(parents=True)
    (folder / "forged.pdf").write_bytes(b"%PDF-1.7")
    with pytest.raises(VaultError, match=r"no event knows forged\.pdf"):
        work(installation, vault)


def test_a_delivery_to_a_directory_is_whole_and_an_event(
    installation: Installation, vault: Vault, tmp_path: Path
) -> None:
    share = tmp_path / "share"
    (installation.home / "delivery.toml").write_text(f'[share]\ndirectory = "{share}"\n')
    ordered(vault, destination="share")
    with pytest.raises(VaultError, match="cannot deliver to"):  # it is not there yet
        work(installation, vault)
    share.mkdir()
    assert work(installation, vault) == {"made": 0, "delivered": 1}
    assert work(installation, vault) == {"made": 0, "delivered": 0}
    (file,) = kept(installation)
    assert [one.name for one in share.iterdir()] == [file.name]
    assert (share / file.name).read_bytes() == file.read_bytes()
    (told,) = happened(vault, "report.delivered")
    assert told.facts["sha256"] == b64(hashlib.sha256(file.read_bytes()).digest())
    assert told.facts["by"] == "directory"


def _waiting(installation: Installation, vault: Vault, person: Vault, share: Path) -> tuple[str, Path]:
    """An order whose report was made and could not be delivered yet."""
    (installation.home / "delivery.toml").write_text(f'[share]\ndirectory = "{share}"\n')
    order = ordered(person, "sg", destination="share")
    with pytest.raises(VaultError, match="cannot deliver to"):
        work(installation, vault)
    share.mkdir()
    (file,) = kept(installation)
    return order, file


def test_what_waits_is_delivered_only_while_its_person_may_have_it(
    installation: Installation, vault: Vault, tmp_path: Path
) -> None:
    anna, olaf = hire(vault, "anna", "auditor"), hire(vault, "olaf", "officer")
    grant = granted(vault, anna, olaf, ["sg"], expires_at=vault.clock() + 60 * DAY)
    order, _ = _waiting(installation, vault, vault.acting(anna), tmp_path / "share")
    grants.revoke(vault.acting(olaf), grant.id)
    with pytest.raises(VaultError, match="grant"):
        work(installation, vault)
    orders.end(vault.acting(olaf), order)
    assert work(installation, vault) == {"made": 0, "delivered": 0}
    assert (list((tmp_path / "share").iterdir()), happened(vault, "report.delivered")) == ([], [])


def test_a_kept_report_that_was_changed_is_not_delivered(
    installation: Installation, vault: Vault, tmp_path: Path
) -> None:
    _, file = _waiting(installation, vault, vault, tmp_path / "share")
    file.write_bytes(file.read_bytes() + b"%")
    with pytest.raises(VaultError, match="not what was issued"):
        work(installation, vault)
    assert (list((tmp_path / "share").iterdir()), happened(vault, "report.delivered")) == ([], [])


class Inbox(BaseHTTPRequestHandler):
    """An endpoint that takes reports."""

    got: ClassVar[list[tuple[dict[str, str], bytes]]]
    answers: ClassVar[list[int]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((dict(self.headers.items()), body))
        self.send_response(self.answers.pop(0))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def inbox(*answers: int) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    handler = type("Handler", (Inbox,), {"got": [], "answers": list(answers)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/reports", handler.got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_endpoint_that_refuses_is_tried_again(installation: Installation, vault: Vault) -> None:
    token = installation.home / "inbox.token"
    token.touch(0o600)
    token.write_text("secret-of-the-inbox\n")
    ordered(vault, destination="inbox")
    with inbox(503, 302, 204) as (url, got):
        (installation.home / "delivery.toml").write_text(f'[inbox]\nurl = "{url}"\ntoken_file = "inbox.token"\n')
        for answer in (503, 302):
            with pytest.raises(VaultError, match=f"answered {answer}") as raised:
                work(installation, vault)
            assert "secret" not in str(raised.value)
        assert work(installation, vault) == {"made": 0, "delivered": 1}
    (file,) = kept(installation)
    headers, body = got[-1]
    assert body == file.read_bytes()
    assert headers["Authorization"] == "Bearer secret-of-the-inbox"
    assert headers["Content-Digest"] == f"sha-256=:{b64encode(hashlib.sha256(body).digest()).decode()}:"
    assert file.name in headers["Content-Disposition"]


@pytest.mark.parametrize(
    "settings",
    [
        'url = "http://reports.example/inbox"',
        'url = "ftp://reports.example/inbox"',
        'url = "https://user:password@reports.example/"',
        'url = "https://reports.example/"\ndirectory = "/srv"',
        "",
        'folder = "/srv"',
    ],
)
def test_a_destination_is_https_or_a_directory(installation: Installation, settings: str) -> None:
    (installation.home / "delivery.toml").write_text(f"[inbox]\n{settings}\n")
    tried = installation.run(
        "report", "order", "add", "evidence", "--ledger", "cn", "--purpose", "p", "--deliver", "inbox"
    )
    assert tried.exit_code == 2
    assert "Traceback" not in tried.stderr


def test_one_report_that_fails_keeps_no_other_from_it(installation: Installation, vault: Vault) -> None:
    anna, olaf = hire(vault, "anna", "auditor"), hire(vault, "olaf", "officer")
    grant = granted(vault, anna, olaf, ["sg"], expires_at=vault.clock() + 60 * DAY)
    ordered(vault.acting(anna), "sg")
    ordered(vault, "cn")
    grants.revoke(vault.acting(olaf), grant.id)
    with pytest.raises(VaultError, match=r"order o-.*no grant of yours"):
        work(installation, vault)
    (file,) = kept(installation)
    assert "_cn_" in file.name


def test_an_order_opens_only_what_the_person_may_have_now(installation: Installation, vault: Vault) -> None:
    anna, olaf = hire(vault, "anna", "auditor"), hire(vault, "olaf", "officer")
    with pytest.raises(Denied):
        ordered(vault.acting(anna), "sg")
    granted(vault, anna, olaf, ["sg"], expires_at=vault.clock() + 60 * DAY)
    order = ordered(vault.acting(anna), "sg")
    assert work(installation, vault)["made"] == 1
    (event,) = [one for one in happened(vault, "report.issued") if one.facts.get("order")]
    assert (event.actor, event.facts["recipient"], event.facts["order"]) == (anna.name, anna.name, order)
    assert [one["order"] for one in issuedlist.listing(vault.acting(anna), 9)] == [order]


def test_an_order_ends_by_its_person_or_an_officer(installation: Installation, vault: Vault) -> None:
    anna, olaf, bert = (
        hire(vault, name, role) for name, role in [("anna", "auditor"), ("olaf", "officer"), ("bert", "auditor")]
    )
    granted(vault, anna, olaf, ["sg"])
    order = ordered(vault.acting(anna), "sg")
    with pytest.raises(Unknown):
        orders.end(vault.acting(bert), order)
    assert orders.listing(vault.acting(bert)) == []
    assert [one.id for one in orders.listing(vault.acting(olaf))] == [order]
    orders.end(vault.acting(olaf), order)
    assert orders.standing(vault) == []
    with pytest.raises(Unknown):
        orders.end(vault, order)
    assert work(installation, vault)["made"] == 0


def test_by_command_line(installation: Installation) -> None:
    add = ("report", "order", "add", "evidence", "--ledger", "cn", "--purpose", "p", "--json")
    order = json.loads(installation.run(*add).stdout)["order"]
    assert order in installation.run("report", "order", "list").stdout
    assert installation.run("report", "order", "end", order).exit_code == 0
    assert "no orders stand" in installation.run("report", "order", "list").stdout
    assert installation.run("report", "list").exit_code == 0
