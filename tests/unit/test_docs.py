"""The documents say what there is, and nothing that is not."""

import re
from pathlib import Path

from app.serve import ServeSettings
from coachman.settings import ServerSettings

ROOT = Path(__file__).parents[2]


def test_every_setting_is_documented_and_every_documented_setting_exists() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()

    for prefix, settings in (("COACHMAN", ServerSettings), ("SHOP", ServeSettings)):
        assert set(re.findall(rf"^\| `({prefix}_\w+)`", text, re.MULTILINE)) == {
            f"{prefix}_{field.upper()}" for field in settings.model_fields
        }


def test_the_readme_names_settings_and_make_targets_that_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    documented = (ROOT / "docs" / "settings.md").read_text()

    targets = set(re.findall(r"\bmake ([a-z][a-z-]+)", readme))
    assert {"run", "test"} <= targets
    assert targets <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert all(key in documented for key in re.findall(r"(?:COACHMAN|SHOP)_\w+", readme))


def test_links_between_the_documents_lead_somewhere() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("**/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
