import asyncio
import logging
import re
import sys
from pathlib import Path

import pytest
import uvloop

from coachman.system import app_finder, app_loader
from coachman.system.app_loader import load
from coachman.system.event_loop import loop_factory


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def refusal(path: str) -> str:
    with pytest.raises(SystemExit) as end:
        load(path)
    return str(end.value)


def test_the_named_application_is_loaded(modules: Path) -> None:
    (modules / "shop_one.py").write_text("async def application(scope, receive, send): ...\n")

    assert load("shop_one:application").__name__ == "application"


def test_a_missing_module_is_told_from_a_module_that_it_needs(modules: Path) -> None:
    (modules / "shop_two.py").write_text("\nimport nowhere_to_be_found\n")

    assert refusal("nowhere.main:app") == (
        "COACHMAN_APP=nowhere.main:app: there is no module nowhere here; "
        "run it from the folder that holds it, or name that folder with --app-dir (COACHMAN_APP_DIR)."
    )
    assert refusal("shop_two:app") == (
        f"COACHMAN_APP=shop_two:app: {modules}/shop_two.py:2 needs the module nowhere_to_be_found, "
        "which is not installed."
    )


def test_what_is_no_application_is_refused(modules: Path) -> None:
    (modules / "shop_three.py").write_text("app = 'a string'\n")

    assert refusal("shop_three:app").endswith("app in shop_three is not an application: it is of type str.")
    assert refusal("shop_three:other").endswith("shop_three has no application named other.")
    assert "has no application to be recognised" in refusal("shop_three")


def test_an_authors_mistake_shows_the_author_the_place(
    modules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (modules / "shop_four.py").write_text("def price():\n    return 1 / 0\n\nprice()\n")
    (modules / "shop_five.py").write_text("def app(:\n")

    assert refusal("shop_four:app").endswith(
        "importing shop_four failed: ZeroDivisionError: division by zero"
    )
    shown = capsys.readouterr().err
    assert "shop_four.py" in shown
    assert "importlib" not in shown
    assert "SyntaxError: invalid syntax (shop_five.py, line 1)" in refusal("shop_five:app")


def test_loops_are_resolved_or_refused() -> None:
    assert loop_factory("auto") is loop_factory("uvloop") is uvloop.new_event_loop
    assert loop_factory("asyncio:new_event_loop") is asyncio.new_event_loop
    with pytest.raises(SystemExit, match="the package nowhere is not installed; run: pip install nowhere"):
        loop_factory("nowhere:loop")
    with pytest.raises(SystemExit, match="the module asyncio has no factory named nothing"):
        loop_factory("asyncio:nothing")
    with pytest.raises(
        SystemExit, match=r"COACHMAN_LOOP=json:loads cannot be called: TypeError: loads\(\) miss"
    ):
        loop_factory("json:loads")
    with pytest.raises(
        SystemExit, match=r"COACHMAN_LOOP=builtins:dict is refused: it makes no event loop, but"
    ):
        loop_factory("builtins:dict")


APPLICATION = "async def {0}(scope, receive, send): ...\n"
FACTORY = "def {0}:\n    async def made(scope, receive, send): ...\n    return made\n"


def write(folder: Path, name: str, text: str) -> str:
    """A module of a name that no other test has: modules are imported once."""
    path = folder / name
    if path.stem.startswith("shop"):
        sys.modules.pop(path.stem, None)  # of the same test with other parameters
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return name


@pytest.mark.parametrize("place", ["main.py", "app.py", "api.py", "app/main.py", "app/app.py", "app/api.py"])
def test_the_usual_files_are_found(modules: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("main", "app", "api"):
        monkeypatch.setitem(sys.modules, name, sys)  # what is there afterwards goes with the test
        del sys.modules[name]
    write(modules, place, APPLICATION.format("api"))

    assert load("", str(modules)).__name__ == "api"


def test_a_folder_without_an_application_is_refused_with_what_to_do(modules: Path) -> None:
    with pytest.raises(SystemExit, match=r"none of main.py, .* Name it, as in: coachman run MODULE"):
        load("", str(modules))


def test_a_file_in_a_package_is_imported_as_the_packages_module(modules: Path) -> None:
    write(modules, "src/shop_pack/__init__.py", "")
    write(modules, "src/shop_pack/prices.py", "CENTS = 1\n")
    write(modules, "src/shop_pack/web.py", "from .prices import CENTS\n" + APPLICATION.format("app"))

    assert load("src/shop_pack/web.py:app", str(modules)).__module__ == "shop_pack.web"
    assert load("shop_pack.web", str(modules / "src")).__module__ == "shop_pack.web"


def test_a_dotted_attribute_and_a_name_with_a_hyphen_are_taken(modules: Path) -> None:
    write(modules, "shop-six.py", APPLICATION.format("app") + "class box:\n    web = staticmethod(app)\n")

    assert load("shop-six:box.web").__name__ == "app"


@pytest.mark.parametrize(
    "name", ["shop_seven:create_app", "shop_seven:create_app()", "shop_seven", "shop_seven.py"]
)
def test_a_factory_is_called(modules: Path, name: str) -> None:
    write(
        modules, "shop_seven.py", "def create_app():\n    " + APPLICATION.format("made") + "    return made\n"
    )

    assert load(name, str(modules)).__name__ == "made"


def test_a_factory_that_takes_arguments_is_called_when_it_is_named_one(modules: Path) -> None:
    write(
        modules, "shop_eight.py", "def make(*parts):\n    " + APPLICATION.format("made") + "    return made\n"
    )

    assert load("shop_eight:make", factory=True).__name__ == "made"
    assert load("shop_eight:make").__name__ == "make"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def app(environ, start_response): ...", "takes two arguments, as a WSGI application does"),
        ("class Flask:\n    def __call__(self, environ, start_response): ...\napp = Flask()", "as a WSGI"),
        ("class app:\n    pass", "is a class; name an instance of it"),
        ("def app(): return 3", "what app() returned is not an application: it is of type int"),
        ("def app(): raise OSError('no disk')", "calling app() failed: OSError: no disk"),
        ("async def app(): ...", "is an async function without arguments; a factory is a plain function"),
        ("import asyncio\nraise asyncio.CancelledError", "failed: CancelledError"),
        ("class E(Exception):\n    def __str__(self): raise OSError\nraise E", "importing shop_flawed"),
        ("def app():\n    import nowhere_to_be_found", "needs the module nowhere_to_be_found, which is not"),
        ("import sys\ndef app(): sys.exit(4)", "calling app() ended the program: sys.exit(4)."),
        (
            "from starlette.applications import Starlette\nfrom starlette.routing import Mount\n"
            "def wsgi(environ, start_response): ...\napp = Starlette(routes=[Mount('/', wsgi)])",
            "hands its requests to what takes two arguments, as a WSGI application does",
        ),
        (
            "from starlette.middleware.cors import CORSMiddleware\n"
            "def make(): ...\napp = CORSMiddleware(make)",
            "hands its requests to what is a function without arguments, so a factory",
        ),
        ("import sys\nsys.exit('no licence')", "ended the program: sys.exit('no licence')"),
        (
            "from pydantic import BaseModel\nclass S(BaseModel):\n    url: str\nS()",
            "ValidationError: 1 validation error for S: url: Field required",
        ),
        (
            "try:\n    open('/proc/none')\nexcept OSError as e:\n    raise ValueError('no log') from e",
            "ValueError: no log (caused by FileNotFoundError:",
        ),
    ],
)
def test_what_cannot_serve_is_refused_in_one_sentence(
    modules: Path, text: str, sentence: str, request: pytest.FixtureRequest
) -> None:
    name = f"shop_flawed_{abs(hash(request.node.name))}"
    write(modules, f"{name}.py", text + "\n")

    assert sentence in refusal(f"{name}:app")


@pytest.mark.parametrize("name", ["shop_async:create_app()", "shop_async:create_app"])
def test_an_async_factory_is_refused_and_not_called(modules: Path, name: str) -> None:
    write(modules, "shop_async.py", "async def create_app(*parts): ...\n")

    with pytest.raises(SystemExit, match=r"create_app is an async function, and a factory is a plain one"):
        load(name, str(modules), factory=True)


@pytest.mark.parametrize("name", [".main:app", "..:app", "shop..web:app", "shop.:app"])
def test_what_is_no_name_of_a_module_is_refused(name: str) -> None:
    assert refusal(name).endswith("is no name of a module; one is shop.main.")


def test_a_file_that_another_module_of_its_name_hides_is_named(modules: Path) -> None:
    write(modules, "shop_hidden.py", APPLICATION.format("app"))
    write(modules, "shop_hidden/__init__.py", "")
    write(modules, "json.py", APPLICATION.format("app"))

    hidden = (
        r"shop_hidden\.py is hidden by .*/shop_hidden/__init__\.py, which has the same name: rename it\.$"
    )
    for name in ("shop_hidden.py", "shop_hidden:app"):
        with pytest.raises(SystemExit, match=hidden):
            load(name, str(modules))
    with pytest.raises(SystemExit, match=r"json\.py is hidden by .*/json/__init__\.py"):
        load("json:app", str(modules))


def test_a_file_named_like_coachman_is_refused_before_a_handover_would_run_it(modules: Path) -> None:
    assert app_finder.hiding_coachman(modules) == ""
    assert app_finder.hiding_coachman(Path(app_finder.__file__).parents[2]) == "", "a checkout"
    write(modules, "coachman/notes.txt", "")
    assert app_finder.hiding_coachman(modules) == ""
    write(modules, "coachman.py", "")
    assert app_finder.hiding_coachman(modules).startswith(
        f"{modules}/coachman.py hides Coachman's own package"
    )


def test_a_server_that_the_import_would_start_is_refused(modules: Path) -> None:
    app = APPLICATION.format("app")
    write(modules, "shop_server.py", f"import uvicorn\n{app}uvicorn.run(app)\n")
    write(modules, "shop_served.py", f"{app}if __name__ == '__main__':\n    uvicorn.run(app)\n")

    sentence = f"{modules}/shop_server.py:3 starts a server when it is imported (uvicorn.run)"
    with pytest.raises(SystemExit, match=re.escape(sentence)):
        load("shop_server:app", str(modules))
    assert load("shop_served:app", str(modules)).__name__ == "app"


def test_a_folder_to_import_from_that_is_not_there_is_named() -> None:
    with pytest.raises(SystemExit, match=r"^COACHMAN_APP_DIR=nowhere is refused: there is no such folder\.$"):
        load("main:app", "nowhere")


def test_what_the_import_has_made_is_named(modules: Path) -> None:
    write(
        modules,
        "shop_nine.py",
        "import socket, sqlite3, threading\n"
        "stop = threading.Event()\n"
        "thread = threading.Thread(target=stop.wait, name='scheduler', daemon=True)\nthread.start()\n"
        "a, b = socket.socketpair()\n"
        f"base = sqlite3.connect('{modules}/stock.db')\nbase.execute('create table t (a)')\nbase.commit()\n"
        + APPLICATION.format("app"),
    )
    load("shop_nine:app")
    made, module = app_loader.loaded.made_at_import, sys.modules["shop_nine"]
    module.stop.set()
    for opened in (module.a, module.b, module.base):
        opened.close()

    assert made == [
        "the thread scheduler, which no worker will have",
        "an open socket (2 times), which all workers would share",
        f"a connection to the SQLite database {modules}/stock.db, which all workers would share",
    ]


def test_an_application_that_configures_logging_does_not_silence_ours(modules: Path) -> None:
    ours = logging.getLogger("gunicorn.error")
    write(
        modules,
        "shop_ten.py",
        "import logging.config\nlogging.config.dictConfig({'version': 1})\n" + APPLICATION.format("app"),
    )
    others = [one for one in logging.Logger.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    before = [(one, one.disabled) for one in others]
    try:
        load("shop_ten:app")

        assert not ours.disabled
    finally:
        for one, was_disabled in before:  # other tests want to read them
            one.disabled = was_disabled
