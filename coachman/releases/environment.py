"""The virtual environment of a release: the packages that its project names, and Coachman."""

import shutil
from pathlib import Path

import coachman
from coachman.releases import apart, changes, interpreter, requirements, workspace
from coachman.releases.command import RefusedError, run
from coachman.releases.installer import INSTALL_SECONDS, Installer, find_uv
from coachman.releases.layout import Layout, Release
from coachman.releases.source import CONFIGURATION, wheels_in


def build(
    layout: Layout, release: Release, source: Path, *, wheels: Path | None, package: str | None
) -> dict[str, str]:
    """Makes the virtual environment, and returns what was installed, from what, and by whom.

    `wheels` is a folder to install from, instead of the index; `package` the member of a workspace.
    """
    folder, own = workspace.root_of(release.folder), wheels_in(source)
    installer = Installer(layout, release, folder, find_uv(), wheels or (source if own else None))
    installer.make_environment(interpreter.choose(release.folder, installer.uv))
    python = interpreter.require_fit(release.folder, release.python)
    form = "wheels" if own else requirements.form_of(folder) or ""
    if own:
        installer.install("--no-deps", *map(str, own))
    elif form == requirements.UV:
        _install_uv_lock(installer, package)
    else:
        if installer.uv is None and requirements.has_sources(folder):
            raise RefusedError(
                "pyproject.toml has tool.uv.sources, which uv alone reads, and there is none on this machine."
            )
        installer.install_all(requirements.read(folder, form))
    apart_or_beside = _add_coachman(layout, release, installer)
    if form != requirements.UV:  # whose versions may differ from what packages ask for: its overrides
        installer.check()
    _compile(release)
    return {
        "python": python,
        "installed_from": form,
        "installed_by": "uv" if installer.uv else "pip",
        "coachman": apart_or_beside,
    }


def _install_uv_lock(installer: Installer, package: str | None) -> None:
    if installer.uv is None:
        raise RefusedError(
            "uv.lock is read by uv, and there is none on this machine: install uv, or run `uv export --no-dev"
            " --output-file requirements.txt` where the project is developed."
        )
    if installer.wheels:
        installer.install_all(requirements.of_text(requirements.UV, installer.export(package)))
    else:
        installer.sync(package)


def _compile(release: Release) -> None:
    """Compiles the release's files: the service may not write there, and would compile at every start.

    A file that does not compile is its own affair: nobody may ever import it.
    """
    command = [str(release.python), "-m", "compileall", "-q", "-x", r"/\.venv/", str(release.folder)]
    run(*command, seconds=INSTALL_SECONDS)


def _add_coachman(layout: Layout, release: Release, installer: Installer) -> str:
    """Adds Coachman where the application does not bring it, and says where it is.

    What the application has installed stays as it is.
    """
    if not (release.folder / CONFIGURATION).exists():
        shutil.copyfile(_shipped_configuration(), release.folder / CONFIGURATION)
    if (release.folder / "coachman" / "__init__.py").exists() or _has(release, "coachman"):
        return "The application brings Coachman"
    found = sorted(layout.wheels.glob("coachman-*.whl"))
    if not found:
        raise RefusedError(f"There is no wheel of Coachman in {layout.wheels}: run `coachman install` again.")
    pins = release.folder / ".venv" / "pins.txt"
    lines = [f"{name}=={version}\n" for name, version in changes.packages(release).items()]
    pins.write_text("".join(lines), encoding="utf-8")
    try:
        installer.install("--constraint", str(pins), str(found[-1]))
    except RefusedError:  # what the resolver says is of no use: it does not know the other way
        return apart.install(installer, found[-1])
    return "Coachman's packages are beside the application's"


def _shipped_configuration() -> Path:
    """Returns the gunicorn.conf.py that ships: in the built package, or beside it in a checkout."""
    package = Path(coachman.__file__).parent
    places = [package / CONFIGURATION, package.parent / CONFIGURATION]
    return next(place for place in places if place.exists())


def _has(release: Release, module: str) -> bool:
    look = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
    return run(str(release.python), "-I", "-c", look).returncode == 0
