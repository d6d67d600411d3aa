"""A real Chromium, told what to do by its DevTools protocol."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.support import web
from tests.support.deadlines import PATIENCE_SECONDS, REQUEST_SECONDS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Page:
    def __init__(self, connection: ClientConnection) -> None:
        self._connection, self._number = connection, 0
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            said = json.loads(self._connection.recv(timeout=PATIENCE_SECONDS))
            if said.get("id") == self._number:
                assert "error" not in said, said
                result: dict[str, Any] = said["result"]
                return result
            if said["method"] in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(json.dumps(said["params"]))

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def text(self, selector: str) -> str:
        return str(self.ask(f"(document.querySelector({json.dumps(selector)}) || {{}}).innerText || ''"))

    def wait(self, expression: str, seconds: float = PATIENCE_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not self.ask(expression):
            page = self.ask("document.body?.innerText")  # none while it loads
            assert time.monotonic() < deadline, f"never: {expression}\n{page}\n{self.complaints}"
            time.sleep(0.02)

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, text=key if len(key) == 1 else "")

    def resize(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def prefer(self, **features: str) -> None:
        """Such as scheme="dark"."""
        told = [{"name": f"prefers-color-{name}", "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=told)

    def picture(self, path: Path) -> None:
        path.write_bytes(
            base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"])
        )


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """Skips the test where there is no Chromium, but not where CI is set."""
    if CHROMIUM is None:
        if "CI" in os.environ:
            pytest.fail("no Chromium is installed, and CI is set")
        pytest.skip("no Chromium is installed")
    profile = folder / "chromium"
    command = [
        CHROMIUM,
        *QUIET,
        OFFLINE,
        f"--user-data-dir={profile}",
        "--remote-debugging-port=0",
        "about:blank",
    ]
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with connect(_address(profile, folder), max_size=None) as connection:
            yield Page(connection)
    finally:
        process.terminate()
        try:
            process.wait(REQUEST_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(REQUEST_SECONDS)


def _address(profile: Path, folder: Path) -> str:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError, IndexError, httpx2.TransportError, StopIteration):
            port = int((profile / "DevToolsActivePort").read_text().splitlines()[0])
            targets = web.get(f"http://127.0.0.1:{port}/json/list").json()
            return str(next(t["webSocketDebuggerUrl"] for t in targets if t["type"] == "page"))
        time.sleep(0.05)
    raise AssertionError(f"Chromium did not start\n{(folder / 'chromium.log').read_text()[-3000:]}")
