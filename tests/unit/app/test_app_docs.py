"""/docs and /redoc: complete without the internet."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings

pytestmark = pytest.mark.sqlite

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=10000",
]


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
@pytest.mark.parametrize("root_path", ["", "/shop"])
def test_page_loads_nothing_from_elsewhere(settings: Settings, page: str, root_path: str) -> None:
    with TestClient(create_app(settings), root_path=root_path) as client:
        # As ASGI has it, and as Uvicorn does it: the path includes the root path.
        html = client.get(f"{root_path}{page}").text
        # The first argument of Swagger UI and of Redoc, and every src and href.
        addresses = re.findall(r"""(?:src|href|spec-url|url)[=:]\s*["']([^"']+)["']""", html)

        assert "http://" not in html
        assert "https://" not in html
        assert f"{root_path}/openapi.json" in addresses
        assert len(addresses) >= 3
        for address in addresses:
            assert address.startswith(f"{root_path}/")
            assert client.get(address).status_code == 200, address


@pytest.mark.browser
@pytest.mark.parametrize("page", ["docs", "redoc"])
def test_page_shows_an_operation_in_a_browser_without_network(page: str, served: str, tmp_path: Path) -> None:
    if CHROMIUM is None:
        if "CI" in os.environ:
            pytest.fail("no Chromium is installed, and CI is set")
        pytest.skip("no Chromium is installed")
    profile = f"--user-data-dir={tmp_path}"

    result = subprocess.run(
        [CHROMIUM, *QUIET, OFFLINE, profile, "--dump-dom", f"{served}/{page}"],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert "Book a movement" in result.stdout, result.stderr[-2000:]
