"""Projects as their developers have them, on a machine: each form, what is left behind, shown and refused."""

import json
from pathlib import Path

import pytest

from tests.support.package import UV
from tests.vm.forms import packages_of, poetry_lock, pylock
from tests.vm.machine import Machine
from tests.vm.template import TEMPLATE

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
import os, pathlib
from fastapi import FastAPI

app = FastAPI()
PRIVATE = pathlib.Path("private.txt").read_text()

@app.get("/bread")
def bread() -> str:
    return PRIVATE

@app.get("/token")
def token() -> str:
    return os.environ["TOKEN"]
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
        ".env": "SECRET_KEY=x\nTOKEN=the developer's",
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
    assert shop.run("curl -sSf http://127.0.0.1:8000/token") == '"abc"', "not the developer's"
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


FORMS = ("requirements.txt", "uv.lock", "pylock.toml", "poetry.lock", "pyproject.toml")
TYPICAL = """
[project]
name = "notes"
version = "1"
requires-python = ">=3.11"
dependencies = ["fastapi", "aiosqlite"]

[tool.uv]
environments = ["sys_platform == 'linux'"]
index = [{ name = "local", url = "/root/wheels", format = "flat", default = true }]

[tool.coachman]
"""
# Makes its tables as tutorials do, in each worker.
NOTES = """
import os
from contextlib import asynccontextmanager
import aiosqlite
from fastapi import FastAPI

DATABASE = os.environ["STATE_DIRECTORY"] + "/notes.db"

@asynccontextmanager
async def lifespan(app):
    async with aiosqlite.connect(DATABASE) as database:
        await database.execute("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY)")
    yield

app = FastAPI(lifespan=lifespan)

@app.get("/")
async def where() -> list[str]:
    async with aiosqlite.connect(DATABASE) as database:
        tables = await database.execute_fetchall("SELECT name FROM sqlite_master")
    return [__name__, *(name for (name,) in tables)]
"""
AT_FIRST = {"pyproject.toml": f'{TYPICAL}app = "main:app"\n', "main.py": NOTES}
# A release that has its module by another name, in another folder.
RENAMED = {
    "pyproject.toml": f'{TYPICAL}app = "notes.web:app"\napp-dir = "src"\n',
    "src/notes/__init__.py": "",
    "src/notes/web.py": NOTES,
}
# How the next release is spoilt, and what is said of it.
SPOILT = {
    "requirements.txt": (
        "printf 'import logging\\nlogging.FileHandler(\"app.log\")\\n' >>src/notes/web.py",
        "A release is read-only: write to $STATE_DIRECTORY, which is /var/lib/coachman-requirements.",
    ),
    "uv.lock": (
        "echo 'workers = 4' >gunicorn.conf.py",
        "gunicorn.conf.py would be read in the place of Coachman's: move its values to [tool.coachman]",
    ),
    "pylock.toml": (
        "echo 'import broker' >>src/notes/web.py",
        "needs the module broker, which is not installed",
    ),
    "poetry.lock": ("sed -i 's/sha256:../sha256:00/' poetry.lock", "The packages cannot be installed:"),
    "pyproject.toml": (
        "echo 'os.environ[\"GREETING\"]' >>src/notes/web.py",
        "importing notes.web failed: KeyError: 'GREETING'",
    ),
}


@pytest.fixture(scope="module")
def locks(shop: Machine, wheels: Path) -> dict[str, str]:
    """The file of each form."""
    shop.write("/root/notes/pyproject.toml", TYPICAL)
    shop.run("cd /root/notes && uv lock --offline")
    uv_lock = shop.run("cat /root/notes/uv.lock")
    packages = packages_of(uv_lock, wheels)
    return {
        "requirements.txt": "fastapi\naiosqlite\n",
        "uv.lock": uv_lock,
        "pylock.toml": pylock(packages),
        "poetry.lock": poetry_lock(packages),
    }


@pytest.mark.parametrize("form", FORMS)
def test_a_project_of_each_form_is_installed_released_broken_rolled_back_and_removed(
    shop: Machine, locks: dict[str, str], form: str
) -> None:
    name = form.partition(".")[0]
    folder, application = f"/root/{name}", f"coachman -n {name}"
    settings, release = (
        f"/etc/coachman-{name}/coachman.env",
        f"{application} release --wheels /root/wheels {folder}",
    )
    locked = {form: locks[form]} if form in locks else {}

    def write(files: dict[str, str]) -> None:
        shop.run(f"rm -rf {folder}")
        for path, text in (files | locked).items():
            shop.write(f"{folder}/{path}", text)

    write(AT_FIRST)
    printed = shop.run(f"{application} install --wheels /root/wheels {folder}")
    assert f"Installed its packages from {form} by uv" in printed, printed
    [address] = [line.split()[-1] for line in printed.splitlines() if line.split()[:1] == ["try"]]
    assert serves(shop, address) == ["main", "notes"]

    write(RENAMED)
    shop.run(f"echo COACHMAN_BIND=0.0.0.0:1 >>{settings}")
    printed = shop.run(release)
    assert f"public {address.removeprefix('http://').rstrip('/')}, " in printed, "the sockets are systemd's"
    assert "COACHMAN_BIND=0.0.0.0:1 has no effect: systemd opens" in shop.journal(f"coachman-{name}.service")
    assert serves(shop, address) == ["notes.web", "notes"]

    spoil, sentence = SPOILT[form]
    shop.run(f"cd {folder} && {spoil}")
    printed = shop.run(release, code=1)
    assert sentence in printed, printed
    assert serves(shop, address) == ["notes.web", "notes"]

    printed = shop.run(f"{application} rollback")
    assert "serves: generation 3" in printed, printed
    assert serves(shop, address) == ["main", "notes"]

    shop.run(f"{application} uninstall --data")
    shop.run(f"curl -s {address}", code=7)
    shop.run(f"ls /opt/coachman-{name} /etc/coachman-{name} /var/lib/coachman-{name}", code=2)


def serves(machine: Machine, address: str) -> list[str]:
    """What the application there answers."""
    answer: list[str] = json.loads(machine.run(f"curl -sSf {address}"))
    return answer


def test_the_full_stack_template_is_installed_with_the_settings_of_the_machine(shop: Machine) -> None:
    for path, text in TEMPLATE.items():
        shop.write(f"/root/template/{path}", text)
    shop.run("cd /root/template && uv lock --offline")
    install = "coachman -n template install --package app --wheels /root/wheels /root/template"

    printed = shop.run(install, code=1)
    assert "SECRET_KEY" in printed, printed
    assert ".env" in printed, printed

    shop.run("echo SECRET_KEY=of-the-machine >>/etc/coachman-template/coachman.env")
    printed = shop.run(install)
    assert "Initial data created" in printed, printed
    [address] = [line.split()[-1] for line in printed.splitlines() if line.split()[:1] == ["try"]]
    assert serves(shop, address) == ["of-the-machine", "admin"]

    printed = shop.run("coachman -n template release --package app --wheels /root/wheels /root/template")
    assert "serves: generation 2" in printed, printed
    assert serves(shop, address) == ["of-the-machine", "admin"]
    shop.run("coachman -n template uninstall --data")
