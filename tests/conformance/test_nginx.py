"""The table through nginx, as we ship its configuration: what both let through is understood in one way."""

import asyncio
import os
import shutil
from collections.abc import Iterator

import pytest

from tests.conformance.cases import CASES, Case
from tests.conformance.conversation import CONVERSATIONS, Manner, conversation, statuses
from tests.conformance.test_conformance import serving_echo
from tests.support.nginx import Nginx

pytestmark = pytest.mark.skipif(
    shutil.which("nginx") is None and "CI" not in os.environ, reason="nginx is not installed"
)
UPSTREAM_FAILED = {500, 502, 504}
BY_THE_APPLICATION = b"/boom"


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    folder = tmp_path_factory.mktemp("nginx")
    with (
        serving_echo(
            folder, "uvloop", COACHMAN_BIND=f"unix:{folder}/public.sock", COACHMAN_TRUSTED_PROXIES="*"
        ),
        Nginx(folder, f"{folder}/public.sock").running() as nginx,
    ):
        yield nginx


def fault(case: Case, received: bytes) -> str:
    found = statuses(received)
    if UPSTREAM_FAILED & set(found) and BY_THE_APPLICATION not in case.request:
        return f"the worker did not answer what nginx let through: {received[:300]!r}"
    if b'"path": "/hidden"' in received:
        return f"a body was taken for a request: {received[:300]!r}"
    if case.status == 200 and found[:1] == [200] and case.lacks and case.lacks in received.split(b"/last")[0]:
        return f"{case.lacks!r} is in {received[:600]!r}"
    if len(found) > 2:
        return f"{found} for two requests: {received[:300]!r}"
    return ""


def test_what_nginx_lets_through_is_one_request(nginx: Nginx) -> None:
    async def ask(case: Case) -> tuple[str, str]:
        async with turn:
            received, _ = await conversation(nginx.port, case, Manner.BEHIND, seconds=3)
        return case.name, fault(case, received)

    async def ask_all() -> list[tuple[str, str]]:
        return await asyncio.gather(*map(ask, CASES))

    turn = asyncio.Semaphore(CONVERSATIONS)
    wrong = [f"{name}\n    {what}" for name, what in asyncio.run(ask_all()) if what]

    assert not wrong, "\n".join(wrong)
