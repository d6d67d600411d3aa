"""A project of uv as its developer has it, on a machine: what is left behind, shown and refused."""

import json

import pytest

from tests.support.package import UV
from tests.vm.machine import Machine

RELEASE = "coachman release --wheels /root/wheels /root/shop"
PYPROJECT = """
[project]
name = "shop"
version = "1"
requires-python = ">=3.11"
dependencies = ["fastapi"]

[tool.uv]
environments = ["sys_platform == 'linux'"]
index = [{ name = "local", url = "/root/wheels", format = "flat", default = true }]

[tool.coachman]
migrate = "python migrate.py"
probe = "/bread"
"""
MAIN = """
import pathlib
from fastapi import FastAPI

app = FastAPI()
PRIVATE = pathlib.Path("private.txt").read_text()

@app.get("/bread")
def bread() -> str:
    return PRIVATE
"""
MIGRATE = """
import os, pathlib
pathlib.Path(os.environ["STATE_DIRECTORY"], "migrated").touch()
print("tables made")
"""
# What the application writes, not Coachman: no logging of ours is left.
SILENT = """
import logging.config, sys
logging.config.dictConfig({"version": 1})
from contextlib import asynccontextmanager

@asynccontextmanager
async def lifespan(_):
    print("the broker is not there", file=sys.stderr, flush=True)
    sys.exit(1)
    yield

app.router.lifespan_context = lifespan
"""


@pytest.fixture(scope="module")
def shop(machine: Machine) -> Machine:
    machine.put(UV, "/usr/local/bin")
    for name, text in {
        "pyproject.toml": PYPROJECT,
        "main.py": MAIN,
        "migrate.py": MIGRATE,
        "private.txt": "rye",
        ".env": "SECRET_KEY=x",
        "shop.db": "SQLite format 3",
    }.items():
        machine.write(f"/root/shop/{name}", text)
    machine.run("chmod 600 /root/shop/.env /root/shop/private.txt; cd /root/shop && uv lock --offline")
    machine.write("/etc/coachman/coachman.env", "COACHMAN_APP=main:app\nCOACHMAN_WORKERS=2\nTOKEN=abc\n")
    return machine


def test_a_uv_project_is_released_and_shows_what_it_proves(shop: Machine) -> None:
    printed = shop.run(RELEASE)

    for part in (
        "Left behind: .env (secrets); shop.db (databases)",
        "install -o coachman -g coachman -m 640 /root/shop/shop.db /var/lib/coachman/shop.db",
        "Installed its packages from uv.lock by uv, Python 3.11.",
        "Packages: ",
        "TOKEN is new",
        "tables made",
        "GET /bread: 200 OK, 5 bytes of application/json, ",
        "s: copy ",
    ):
        assert part in printed, printed
    assert "abc" not in printed, printed
    assert shop.run("curl -sSf http://127.0.0.1:8000/bread") == '"rye"'
    shop.run("test -e /var/lib/coachman/migrated")

    private = "/opt/coachman/current/private.txt"
    assert shop.run(f"stat -c '%U %a' {private}") == "coachman 600\n"
    shop.run(f"setpriv --reuid nobody --regid nogroup --clear-groups cat {private}", code=1)
    assert shop.run("ls -A /opt/coachman/current | grep -e '^.env$' -e shop.db", code=1) == ""

    last = json.loads(shop.run("tail -n 1 /opt/coachman/audit.log"))
    assert list(last["seconds"]) == ["copy", "packages", "sync", "check", "migrations", "handover"]


def test_a_refused_generation_says_its_last_lines_whatever_it_does_to_logging(shop: Machine) -> None:
    shop.write("/root/broken.py", SILENT)
    shop.run("cat /root/broken.py >>/root/shop/main.py")

    printed = shop.run(RELEASE, code=1)

    assert "stays behind" not in printed, "the database was told of before"
    assert "Packages: the same" in printed, printed
    assert "the broker is not there" in printed, printed
    assert printed.rstrip().endswith("is current as before."), printed
    assert shop.run("curl -sSf http://127.0.0.1:8000/bread") == '"rye"'
