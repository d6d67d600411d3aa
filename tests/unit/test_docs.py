"""The documents say what there is, and nothing that is not."""

import re
from pathlib import Path

from app.serve import ServeSettings
from app.settings import Settings
from coachman.settings import ServerSettings

ROOT = Path(__file__).parents[2]


def test_every_setting_is_documented_and_every_documented_setting_exists() -> None:
    fields = {*ServerSettings.model_fields, *Settings.model_fields, *ServeSettings.model_fields}
    text = (ROOT / "docs" / "settings.md").read_text()

    assert set(re.findall(r"^\| `(COACHMAN_\w+)`", text, re.MULTILINE)) == {
        f"COACHMAN_{field.upper()}" for field in fields
    }


def test_the_readme_names_settings_and_make_targets_that_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    documented = (ROOT / "docs" / "settings.md").read_text()

    targets = set(re.findall(r"\bmake ([a-z][a-z-]+)", readme))
    assert {"run", "test"} <= targets
    assert targets <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert all(key in documented for key in re.findall(r"COACHMAN_\w+", readme))


def test_links_between_the_documents_lead_somewhere() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("**/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
