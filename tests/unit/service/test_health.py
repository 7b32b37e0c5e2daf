"""However many want to know whether the service is ready, the database and the key provider are asked once."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from service.routes import health
from service.runtime import Runtime


def test_one_look_serves_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    now = 100.0

    async def verb(*_: Any) -> tuple[bool, bool, bool]:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0)
        return True, True, looks == 1

    monkeypatch.setattr(health.time, "monotonic", lambda: now)
    runtime = cast(Runtime, SimpleNamespace(looked=(0.0, None), verb=verb, oidc=None))

    async def ask() -> None:
        nonlocal now
        seen = await asyncio.gather(*(health._seen(runtime) for _ in range(20)))
        assert seen == [(True, True, True, None)] * 20
        now += 0.9
        assert await health._seen(runtime) == (True, True, True, None)
        assert looks == 1
        now += 0.2
        assert await health._seen(runtime) == (True, True, False, None)
        assert looks == 2

    asyncio.run(ask())
