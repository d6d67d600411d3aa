"""Which packages of an application do not fit Coachman's, on a path of their own."""

from pathlib import Path

import pytest

from coachman.releases.apart import find_misfits

SERVERS = 'Requires-Dist: gunicorn<28,>=23.0; sys_platform != "win32"\nRequires-Dist: uvicorn (>=0.34)\n'
SETTINGS = 'Requires-Dist: pydantic_settings[yaml]>=2.7\nRequires-Dist: rich>=13 ; extra == "cli"\n'


@pytest.fixture
def behind(tmp_path: Path) -> Path:
    for package, needs in {
        "coachman-9": SERVERS + SETTINGS,
        "gunicorn-27.0": "Requires-Dist: packaging>=24\n",
        "uvicorn-0.54.0": "Requires-Dist: click>=7\n",
        "pydantic_settings-2.16": "Requires-Dist: pydantic>=2.7\n",
        "click-8.5": "",
        "packaging-26": "",
        "pydantic-2.14": "",
    }.items():
        about = tmp_path / f"{package}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: x\n{needs}\nRequires-Dist: body>=1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("pinned", "misfits"),
    [
        ({}, []),
        ({"gunicorn": "23.0.0", "uvicorn": "0.54.0", "rich": "10.0"}, []),
        ({"uvicorn": "0.29.0", "gunicorn": "28.0"}, ["gunicorn", "uvicorn"]),
        ({"pydantic-settings": "2.2.1"}, ["pydantic-settings"]),
        ({"pydantic": "1.10.0"}, ["pydantic"]),  # which Coachman's own pydantic-settings would import
        ({"pydantic": "1.10.0", "pydantic-settings": "2.16"}, []),  # which is the application's affair
        ({"packaging": "23.0", "gunicorn": "25.0"}, []),  # Coachman's own Gunicorn is not imported
        ({"packaging": "23.0", "gunicorn": "22.0"}, ["gunicorn", "packaging"]),
    ],
)
def test_what_does_not_fit_what_is_imported_from_coachmans_path_is_found(
    behind: Path, pinned: dict[str, str], misfits: list[str]
) -> None:
    assert [one.name for one in find_misfits(behind, pinned)] == misfits
