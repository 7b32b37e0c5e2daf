"""The vaults of the integration tests, used here from outside only."""

from __future__ import annotations

from tests.integration.conftest import built, fresh, installation

__all__ = ["built", "fresh", "installation"]
