"""The virtual environment of a release, by uv and by pip, from each form; without an index."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from coachman.releases import changes, environment, installer, source
from coachman.releases.command import RefusedError
from coachman.releases.layout import Layout, Release
from tests.support import web
from tests.support.deadlines import COMMAND_SECONDS
from tests.support.foreground import Foreground
from tests.support.package import UV
from tests.support.service import running
from tests.vm.wheel import make_wheel

PROJECT = (
    '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["flavour<2"]\n'
)
DEVELOPMENT = '[dependency-groups]\ndev = ["spice"]\n'
# A package that builds itself: no build backend comes from an index.
PACKAGE = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
BACKEND = """
import pathlib, zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    about = "shop-1.dist-info"
    with zipfile.ZipFile(pathlib.Path(folder, "shop-1-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("shop.pth", str(pathlib.Path("src").resolve()))
        needs = "Requires-Dist: flavour<2\\n"
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\\nName: shop\\nVersion: 1\\n{needs}")
        tag = "Root-Is-Purelib: true\\nTag: py3-none-any\\n"
        wheel.writestr(f"{about}/WHEEL", f"Wheel-Version: 1.0\\nGenerator: a test\\n{tag}")
        wheel.writestr(f"{about}/RECORD", "")
    return "shop-1-py3-none-any.whl"

def get_requires_for_build_editable(config_settings=None):
    return []
"""
SRC = {"backend.py": BACKEND, "src/shop_web.py": "import flavour\n"}
# Coachman's own is not asked for: what a release adds is not what these tests are about.
BRINGS_COACHMAN = {"coachman/__init__.py": ""}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    for name, version in (("flavour", "1.0"), ("flavour", "2.0"), ("spice", "1.0")):
        make_wheel(folder, name, version, {f"{name}.py": f"VERSION = {version!r}\n"})
    return folder


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "root")
    layout.releases.mkdir(parents=True)
    return layout


@pytest.fixture(params=["uv", "pip"])
def installed_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    by: str = request.param
    monkeypatch.setattr(environment, "find_uv", lambda: str(UV) if by == "uv" else None)
    return by


Build = Callable[..., tuple[Release, dict[str, str]]]


@pytest.fixture
def build(layout: Layout, wheels: Path, tmp_path: Path) -> Build:
    def build(
        files: dict[str, str],
        *,
        package: str | None = None,
        index: Path | None = wheels,
        brings_coachman: bool = True,
    ) -> tuple[Release, dict[str, str]]:
        project = tmp_path / "project"
        for name, text in ((BRINGS_COACHMAN if brings_coachman else {}) | files).items():
            path = project / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        if "uv.lock" in files:
            _lock(project)
        release = layout.release("r1")
        source.copy(project, release.folder, package)
        return release, environment.build(layout, release, project, wheels=index, package=package)

    return build


def _lock(project: Path) -> None:
    (project / "uv.lock").unlink()
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    subprocess.run(
        [UV, "lock", "--quiet", "--offline"],
        cwd=project,
        check=True,
        timeout=COMMAND_SECONDS,
        env=environment,
    )


def says(release: Release, code: str) -> str:
    done = subprocess.run(
        [release.python, "-c", code],
        cwd=release.folder,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
    )
    return done.stdout.strip() or done.stderr


def digest(wheels: Path, name: str) -> str:
    return hashlib.sha256((wheels / name).read_bytes()).hexdigest()


def pylock(wheels: Path) -> str:
    name = "flavour-1.0-py3-none-any.whl"
    hashes = f'{{ sha256 = "{digest(wheels, name)}" }}'
    return (
        'lock-version = "1.0"\ncreated-by = "a test"\n[[packages]]\nname = "flavour"\nversion = "1.0"\n'
        f'wheels = [{{ url = "https://example.com/{name}", hashes = {hashes} }}]\n'
    )


def poetry_lock(wheels: Path) -> str:
    name = "flavour-1.0-py3-none-any.whl"
    return (
        '[[package]]\nname = "flavour"\nversion = "1.0"\noptional = false\ngroups = ["main"]\n'
        f'files = [{{file = "{name}", hash = "sha256:{digest(wheels, name)}"}}]\n'
        '[[package]]\nname = "spice"\nversion = "1.0"\noptional = false\ngroups = ["dev"]\nfiles = []\n'
        '[metadata]\nlock-version = "2.1"\n'
    )


@pytest.mark.parametrize("form", ["requirements.txt", "pylock.toml", "poetry.lock", "pyproject.toml"])
def test_each_form_is_installed_by_uv_and_by_pip(
    build: Build, wheels: Path, installed_by: str, form: str
) -> None:
    files = {
        "requirements.txt": "flavour==1.0\n",
        "pylock.toml": pylock(wheels),
        "poetry.lock": poetry_lock(wheels),
    }
    release, built = build({"pyproject.toml": PROJECT, form: files.get(form, PROJECT)})

    assert (built["installed_from"], built["installed_by"]) == (form, installed_by)
    assert says(release, "import flavour; print(flavour.VERSION)") == "1.0"
    assert "No module named 'spice'" in says(release, "import spice")
    assert says(release, "import sys; print(sys.prefix)") == str(release.folder / ".venv")


@pytest.mark.parametrize("form", ["pyproject.toml", "requirements.txt", "pylock.toml"])
def test_a_packaged_project_is_importable(build: Build, wheels: Path, installed_by: str, form: str) -> None:
    name = "flavour-1.0-py3-none-any.whl"
    exported = f"-e .\nflavour==1.0 \\\n    --hash=sha256:{digest(wheels, name)}\n"  # as `uv export` writes
    files = {"requirements.txt": exported, "pylock.toml": pylock(wheels)}
    project = PROJECT + PACKAGE
    release, _ = build({**SRC, "pyproject.toml": project, form: files.get(form, project)})

    place = f"{release.folder}/src/shop_web.py 1.0"
    assert says(release, "import shop_web as w; print(w.__file__, w.flavour.VERSION)") == place


def test_a_wheel_that_is_not_the_one_of_the_lock_is_refused(
    build: Build, wheels: Path, installed_by: str
) -> None:
    other = pylock(wheels).replace("sha256 = ", 'sha512 = "00", x = ')

    with pytest.raises(RefusedError, match=r"The packages cannot be installed:\n(.*\n)*.*(?i:hash)"):
        build({"pylock.toml": other})


def uv_project(wheels: Path) -> str:
    index = f'[[tool.uv.index]]\nname = "local"\nurl = "{wheels}"\nformat = "flat"\ndefault = true\n'
    return PROJECT + DEVELOPMENT + index


@pytest.mark.parametrize("with_index", [True, False])
def test_a_uv_lock_is_installed_from_its_index_or_from_a_folder_of_wheels(
    build: Build, wheels: Path, monkeypatch: pytest.MonkeyPatch, layout: Layout, with_index: bool
) -> None:
    monkeypatch.setattr(environment, "find_uv", lambda: str(UV))
    files = {"pyproject.toml": uv_project(wheels), "uv.lock": ""}

    release, built = build(files, index=None if with_index else wheels)

    assert (built["installed_from"], built["installed_by"]) == ("uv.lock", "uv")
    assert says(release, "import flavour; print(flavour.VERSION)") == "1.0"
    assert "No module named 'spice'" in says(release, "import spice")
    assert (layout.root / "cache").is_dir()
    assert list(release.folder.glob(".venv/lib/*/site-packages/__pycache__/flavour.*.pyc"))


def test_a_lock_that_is_not_up_to_date_is_refused(
    build: Build, wheels: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(environment, "find_uv", lambda: str(UV))
    files = {"pyproject.toml": uv_project(wheels), "uv.lock": ""}
    monkeypatch.setattr(sys.modules[__name__], "_lock", lambda project: None)
    lock = 'version = 1\nrequires-python = ">=3.11"\n[[package]]\nname = "shop"\nversion = "1"\n'

    with pytest.raises(RefusedError, match=r"uv\.lock` needs to be updated"):
        build(files | {"uv.lock": lock + 'source = { virtual = "." }\n'}, index=None)


def test_a_uv_lock_without_uv_is_refused_with_what_to_run(
    build: Build, monkeypatch: pytest.MonkeyPatch, wheels: Path
) -> None:
    monkeypatch.setattr(environment, "find_uv", lambda: None)

    with pytest.raises(RefusedError, match=r"^uv\.lock is read by uv, .* run `uv export --no-dev"):
        build({"pyproject.toml": uv_project(wheels), "uv.lock": ""})


def test_sources_of_uv_are_not_looked_for_in_the_index_by_pip(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "find_uv", lambda: None)
    sources = '[tool.uv.sources]\nflavour = { git = "https://example.com/flavour.git" }\n'

    with pytest.raises(RefusedError, match=r"^pyproject\.toml has tool\.uv\.sources, which uv alone reads"):
        build({"pyproject.toml": PROJECT + sources})


@pytest.mark.parametrize("with_index", [True, False])
def test_a_workspaces_member_is_at_the_top_of_its_release(
    build: Build, wheels: Path, monkeypatch: pytest.MonkeyPatch, with_index: bool
) -> None:
    monkeypatch.setattr(environment, "find_uv", lambda: str(UV))
    index = uv_project(wheels).partition("[[tool.uv.index]]")
    root = '[tool.uv.workspace]\nmembers = ["api", "lib"]\n' + "".join(index[1:])
    api = (
        '[project]\nname = "api"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["shop"]\n'
        "[tool.uv.sources]\nshop = { workspace = true }\n[tool.coachman]\nworkers = 3\n"
    )
    files = {
        "pyproject.toml": root,
        "uv.lock": "",
        "api/pyproject.toml": api,
        "api/main.py": "import shop_web",
    }
    files |= {f"lib/{name}": text for name, text in SRC.items()}
    files |= {"lib/pyproject.toml": PROJECT + PACKAGE, "api/coachman/__init__.py": ""}

    release, _ = build(files, package="api", index=None if with_index else wheels)

    assert "workers = 3" in (release.folder / "pyproject.toml").read_text()
    place = f"{release.folder}/.workspace/lib/src/shop_web.py"
    assert says(release, "import main; print(main.shop_web.__file__)") == place
    assert (release.folder / "gunicorn.conf.py").is_file()


@pytest.fixture
def old_server(wheels: Path, layout: Layout, tmp_path: Path) -> Path:
    """Wheels with a Coachman that needs a newer server than an application may have pinned."""
    folder = tmp_path / "index"
    shutil.copytree(wheels, folder)
    for name, version in (("gunicorn", "22.0"), ("gunicorn", "23.0"), ("rich", "13.0"), ("rich", "14.0")):
        module = {f"{name}.py": f"VERSION = {version!r}\n"}
        make_wheel(folder, name, version, module, "rich>=13" if name == "gunicorn" else "")
    coachman = {"coachman/__init__.py": "import gunicorn, rich\n"}
    needs = "gunicorn<28,>=23.0; sys_platform != 'win32'\nRequires-Dist: rich>=13.0"
    layout.wheels.mkdir()
    shutil.copy(make_wheel(folder, "coachman", "9", coachman, needs), layout.wheels)
    return folder


VERSIONS = "import coachman, gunicorn, rich; print(gunicorn.VERSION, rich.VERSION)"


BESIDE = "beside the application's"
APART = "apart from the application's; what serves is gunicorn 23.0"


# The other two are the same for pip, which takes seconds for each.
@pytest.mark.parametrize(
    ("installed_by", "pins", "said", "imported"),
    [
        ("uv", "gunicorn==23.0\nrich==13.0\n", BESIDE, "23.0 13.0"),
        ("uv", "rich==13.0\n", BESIDE, "23.0 13.0"),
        ("uv", "gunicorn==22.0\nrich==13.0\n", APART, "23.0 13.0"),
        ("uv", "gunicorn==22.0\n", APART, "23.0 14.0"),
        ("pip", "gunicorn==23.0\nrich==13.0\n", BESIDE, "23.0 13.0"),
        ("pip", "gunicorn==22.0\nrich==13.0\n", APART, "23.0 13.0"),
    ],
    indirect=["installed_by"],
)
def test_an_applications_pins_stay_and_coachman_goes_where_it_fits(
    build: Build, old_server: Path, installed_by: str, pins: str, said: str, imported: str
) -> None:
    release, built = build({"requirements.txt": pins}, index=old_server, brings_coachman=False)

    assert built["coachman"] == f"Coachman's packages are {said}"
    assert says(release, VERSIONS) == imported
    kept = changes.packages(release)
    for pin in pins.split():
        name, version = pin.split("==")
        assert kept[name] == version


def test_a_library_that_fits_nobody_is_named(build: Build, old_server: Path, installed_by: str) -> None:
    make_wheel(old_server, "rich", "12.0", {"rich.py": "VERSION = '12.0'\n"})

    with pytest.raises(RefusedError, match=r"^Coachman does not fit beside .* rich 12\.0 \(Coachman: >=13"):
        build({"requirements.txt": "rich==12.0\n"}, index=old_server, brings_coachman=False)


def test_pins_of_two_years_ago_are_served_and_handed_over(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wheel: Path
) -> None:
    """By the real packages, from the index, as tests/process/test_installed.py has them."""
    monkeypatch.setattr(environment, "find_uv", lambda: str(UV))
    pins = {"fastapi": "0.110.3", "gunicorn": "21.2.0", "uvicorn": "0.29.0"}
    project = tmp_path / "project"
    project.mkdir()
    (project / "requirements.txt").write_text("".join(f"{name}=={pin}\n" for name, pin in pins.items()))
    layout.wheels.mkdir()
    shutil.copy(wheel, layout.wheels)
    release = layout.release("r1")
    source.copy(project, release.folder)

    built = environment.build(layout, release, project, wheels=None, package=None)

    assert "gunicorn 2" in built["coachman"], built
    assert changes.packages(release).items() >= pins.items()
    service = Foreground(tmp_path, python=str(release.python))
    del service.environment["PYTHONPATH"]  # of the repository
    with running(service):
        service.wait_settled()
        assert web.get(service.url).status_code == 200
        assert "Generation 2 serves" in service.ask("handover").stdout, service.log()


def test_a_python_that_nobody_has_is_one_sentence(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "find_uv", lambda: None)

    with pytest.raises(RefusedError, match=r"^It asks for Python 3\.19 \(\.python-version\) and >=3\.11"):
        build({"pyproject.toml": PROJECT, ".python-version": "3.19\n"})


def test_uv_is_found_beside_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    assert installer.find_uv() == str(UV)
