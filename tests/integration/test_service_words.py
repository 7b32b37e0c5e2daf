"""What a stranger is told: which member is wrong, which port is taken, which name nobody knows; and who was refused."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any

import pytest

from service.serve import require_free
from tests.support.decisions import decision, spelled
from tests.support.serving import PASSWORD, ROOT, bearer, serving
from tests.support.vault import Installation
from vault import producers
from vault.core.errors import Unavailable, Unknown


def test_a_wrong_body_is_told_by_our_own_names_and_never_by_what_was_sent(installation: Installation) -> None:
    with serving(installation) as service:

        def told(body: Any) -> str:
            answer = service.client.post("/v1/login", json=body)
            assert answer.status_code == 422
            return str(answer.json()["detail"])

        assert told({"user": "anna"}) == "the body lacks the member password"
        assert told({"user": "anna", "password": "x", "secret-4711": 1}) == (
            "the body has a member that is not known here"
        )
        assert told({"user": 7, "password": "x"}) == "user is not what it should be"
        form = service.client.post("/v1/login", data={"user": "anna"})
        assert form.status_code == 415
        assert form.json()["detail"] == "the body's Content-Type is application/json"

        port = service.client.base_url.port
        assert port is not None
        with pytest.raises(Unavailable, match="cannot listen on"):
            require_free(("127.0.0.1", port))
        second = _run(installation, "serve", "--listen", f"127.0.0.1:{port}")
        assert (second.returncode, second.stdout) == (5, "")
        assert second.stderr == f"reasonvault: cannot listen on 127.0.0.1 port {port}: Address already in use\n"


def test_a_misspelt_limit_is_no_search_without_one(installation: Installation) -> None:
    with serving(installation) as service:
        auditor, officer = service.people()
        service.granted(auditor, officer, "cn")
        for path in ("/v1/ledgers/cn/records", "/v1/ledgers/cn/records/dec-000001", "/v1/events"):
            answer = service.client.get(path, params={"customr": "cus-1", "limit": "1"}, headers=bearer(auditor))
            assert answer.status_code == 422
            assert answer.json()["detail"].startswith("the query has a parameter that is not known here; known are ")
        told = service.client.get("/v1/events", params={"untill": "x"}, headers=bearer(auditor)).json()["detail"]
        assert told.endswith("known are actor, before, end, event, ledger, limit, start")
        assert service.events(officer, "records.searched") == []


def test_a_first_password_is_not_made_where_nobody_would_see_it(installation: Installation) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ran = _run(installation, "up", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert ran.returncode == 5
    assert _run(installation, "user", "list").stdout == "there are no accounts\n"


def test_a_name_that_nobody_knows_is_no_missing_evidence(installation: Installation) -> None:
    file = installation.home.parent / "password"
    file.write_text(PASSWORD)
    more = {"REASONVAULT_PASSWORD_FILE": str(file)}
    assert _run(installation, "user", "add", "olaf", "--role", "officer", **more).returncode == 0
    ran = _run(installation, "grant", "approve", "g-nobody", "--user", "olaf", **more)
    assert (ran.returncode, ran.stderr) == (Unknown.exit_code, "reasonvault: there is no such grant\n")
    assert _run(installation, "events", "--event", "no.such").stdout == "no event fits\n"


def test_a_producer_that_is_refused_leaves_an_event(installation: Installation) -> None:
    with serving(installation) as service:
        key = service.producer("psp-7", "cn")
        _, officer = service.people()
        mine, other = "/v1/ledgers/cn", "/v1/ledgers/sg"
        assert service.client.get(mine, headers=bearer(key)).status_code == 200
        for path in (other, "/v1/ledgers/nobodys"):
            answer = service.client.get(path, headers=bearer(key))
            assert (answer.status_code, answer.json()["detail"]) == (403, "this producer key is not for this ledger")
        denied = service.events(officer, "access.denied")
        assert [one["facts"]["code"] for one in denied] == ["ledger", "ledger"]
        assert {one["actor"] for one in denied} == {"producer:psp-7"}

        assert service.append("cn", key, spelled(decision(901))).status_code == 201
        with installation.opened() as vault:
            producers.revoke(vault, key.split("_")[1])
        answers = [service.append("cn", key, spelled(decision(902))) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [401, 401]
        assert [answer.json()["code"] for answer in answers] == ["revoked", "revoked"]
        assert service.client.get(mine, headers=bearer(key)).status_code == 401
        failed = service.events(officer, "auth.failed")
        assert [one["facts"]["code"] for one in failed] == ["revoked"] * 3


def _run(installation: Installation, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        env={**os.environ, **installation.environment(), **more},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
