"""OpenBao as a key provider: the contract, over a real server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.openbao import MOUNT, Bao
from tests.unit.keys.provider_contract import ProviderContract, Subject


class TestOpenBao(ProviderContract):
    @pytest.fixture
    def subject(self, bao: Bao, tmp_path: Path) -> Subject:
        directory = tmp_path / "keys-openbao"
        return Subject(
            bao.keys(directory),
            lambda: bao.keys(directory),
            lambda ref: bao.ask("DELETE", f"{MOUNT}/keys/{ref}/soft-delete") and None,
            lambda ref: bao.ask("POST", f"{MOUNT}/keys/{ref}/soft-delete-restore", {}) and None,
        )
