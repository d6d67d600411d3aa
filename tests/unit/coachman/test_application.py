from pathlib import Path

import pytest

from coachman.system.app_loader import load
from coachman.system.event_loop import uvicorn_loop


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def refusal(path: str) -> str:
    with pytest.raises(SystemExit) as end:
        load(path)
    return str(end.value)


def test_the_named_application_is_loaded(modules: Path) -> None:
    (modules / "shop_one.py").write_text("def application(scope): ...\n")

    assert load("shop_one:application").__name__ == "application"


def test_a_missing_module_is_told_from_a_module_that_it_needs(modules: Path) -> None:
    (modules / "shop_two.py").write_text("\nimport nowhere_to_be_found\n")

    assert refusal("nowhere.main:app") == (
        "COACHMAN_APP=nowhere.main:app: there is no module nowhere here; "
        "run it from the folder that holds it."
    )
    assert refusal("shop_two:app") == (
        f"COACHMAN_APP=shop_two:app: {modules}/shop_two.py:2 needs the module nowhere_to_be_found, "
        "which is not installed."
    )


def test_what_is_no_application_is_refused(modules: Path) -> None:
    (modules / "shop_three.py").write_text("app = 'a string'\n")

    assert refusal("shop_three:app").endswith("shop_three has no application named app.")


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
    assert "SyntaxError" in refusal("shop_five:app")


def test_loops_are_resolved_or_refused() -> None:
    assert uvicorn_loop("rloop") == "rloop:new_event_loop"
    assert uvicorn_loop("asyncio:new_event_loop") == "asyncio:new_event_loop"
    with pytest.raises(SystemExit, match="the package nowhere is not installed; run: pip install nowhere"):
        uvicorn_loop("nowhere:loop")
    with pytest.raises(SystemExit, match="the module asyncio has no factory named nothing"):
        uvicorn_loop("asyncio:nothing")
