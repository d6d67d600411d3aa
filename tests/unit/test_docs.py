"""The documents say what there is, and nothing that is not."""

import re
import tomllib
from pathlib import Path

import pytest
import uvicorn

import coachman
from app.serve import ServeSettings
from coachman.settings import ServerSettings
from coachman.system import gunicorn_file

ROOT = Path(__file__).parents[2]


def test_every_setting_is_documented_and_every_documented_setting_exists() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()

    for prefix, settings in (("COACHMAN", ServerSettings), ("SHOP", ServeSettings)):
        assert set(re.findall(rf"^\| `({prefix}_\w+)`", text, re.MULTILINE)) == {
            f"{prefix}_{field.upper()}" for field in settings.model_fields
        }


def test_each_flag_of_uvicorns_is_in_the_page_for_who_comes_from_it() -> None:
    text = (ROOT / "docs" / "migrating.md").read_text()
    flags = {
        flag
        for option in uvicorn.main.params
        for flag in option.opts
        if flag.startswith("--") and flag != "--help"
    }

    missing = sorted(flag for flag in flags if f"`{flag}`" not in text)
    assert not missing


def test_what_becomes_of_each_setting_of_gunicorns_is_in_the_page_for_who_comes_from_it() -> None:
    text = (ROOT / "docs" / "migrating.md").read_text()
    names = {*gunicorn_file._SETTINGS, *gunicorn_file._UNUSED, *gunicorn_file.HOOKS}
    less_known = {
        "reload_engine",
        "reload_extra_files",
        "control_socket_disable",
        "check_config",
        "print_config",
    }

    missing = sorted(name for name in names - less_known if f"`{name}`" not in text)
    assert not missing


def test_the_readme_names_settings_that_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    documented = (ROOT / "docs" / "settings.md").read_text()

    assert all(key in documented for key in re.findall(r"(?:COACHMAN|SHOP)_\w+", readme))


@pytest.mark.parametrize(
    ("document", "needed"), [("README.md", {"run", "test"}), ("docs/development.md", {"soak"})]
)
def test_make_targets_that_are_named_exist(document: str, needed: set[str]) -> None:
    named = set(
        re.findall(r"`make ([a-z][a-z-]+)|^make ([a-z][a-z-]+)", (ROOT / document).read_text(), re.MULTILINE)
    )
    targets = {one or other for one, other in named}
    makefile = (ROOT / "Makefile").read_text()

    assert needed <= targets
    assert targets <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


def test_links_between_the_documents_lead_somewhere() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("**/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_each_folder_of_coachman_is_described_for_those_who_work_on_it() -> None:
    text = (ROOT / "docs" / "development.md").read_text()
    described = set(re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE))

    folders = {path.name for path in (ROOT / "coachman").iterdir() if (path / "__init__.py").exists()}
    assert described == folders


def test_the_words_of_the_glossary_are_there() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text()
    for word in (
        *("slot", "generation", "handover", "probation", "drain", "recycle", "backoff", "scoreboard"),
        *("ops listener", "release", "worker", "in flight", "replacement"),
    ):
        assert f"\n| {word} | " in text, word


def test_the_version_stands_in_one_place() -> None:
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert configuration["project"]["dynamic"] == ["version"]
    assert configuration["tool"]["hatch"]["version"]["path"] == "coachman/__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+", coachman.__version__)
