"""`coachman export`: the files with which an orchestrator runs this application."""

import os
import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from coachman.cli import _migration
from coachman.cli._configuration import Configuration, configure
from coachman.cli._instance import chosen
from coachman.cli._options import Given
from coachman.cli._service import fail
from coachman.export import measured, variables
from coachman.export.application import PREFIX, Application
from coachman.export.kubernetes import command_of_secret, kubernetes
from coachman.export.nomad import nomad
from coachman.export.stacks import compose, swarm
from coachman.settings import ServerSettings
from coachman.system import project_file, setting_values

IMAGE = "registry.example/{}:1"
MEMORY = 384


class Engine(StrEnum):
    SWARM = "swarm"
    KUBERNETES = "kubernetes"
    NOMAD = "nomad"
    COMPOSE = "compose"


_WRITERS = {
    Engine.SWARM: swarm,
    Engine.KUBERNETES: kubernetes,
    Engine.NOMAD: nomad,
    Engine.COMPOSE: compose,
}
Name = Annotated[
    str,
    typer.Option(
        "--name", "-n", help="What it is called there; with the settings of that one on this machine."
    ),
]
Pairs = list[str] | None


def export(
    engine: Annotated[Engine, typer.Argument(help="What runs it there.")],
    name: Name = "",
    app: Annotated[str, typer.Option(metavar="MODULE:APP", help="The application, if not found.")] = "",
    image: Annotated[str, typer.Option(help="The image, as REPOSITORY:TAG.")] = "",
    replicas: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Processes; 2 when not given.")
    ] = None,
    compared: Annotated[
        Path | None,
        typer.Option("--measured", metavar="DIR", help="As many as this run of `make compare` recommends."),
    ] = None,
    env_file: Annotated[
        Path | None, typer.Option(help="A file of NAME=VALUE lines, all of which are exported.")
    ] = None,
    values: Annotated[
        Pairs, typer.Option("--set", metavar="NAME=VALUE", help="A variable; may be repeated.")
    ] = None,
    secrets: Annotated[
        Pairs, typer.Option("--secret", metavar="NAME", help="A variable whose value the engine keeps.")
    ] = None,
    secret_files: Annotated[
        Pairs,
        typer.Option(
            "--secret-file",
            metavar="NAME=PATH",
            help="A variable that is the path of a file that the engine keeps.",
        ),
    ] = None,
    volumes: Annotated[
        Pairs, typer.Option("--volume", metavar="PATH", help="A folder to keep; then one replica runs.")
    ] = None,
    memory: Annotated[
        int | None,
        typer.Option(min=64, help=f"MiB at most; {MEMORY}, or COACHMAN_MAX_RSS_MB, when not given."),
    ] = None,
    cpus: Annotated[float, typer.Option(min=0.01, help="CPUs that one process is promised.")] = 0.5,
    migrate: Annotated[
        str | None, typer.Option(help="The command that migrates; that of `coachman migrate` when not given.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the files go; deploy/ENGINE when not given.")
    ] = None,
) -> None:
    """Write the files with which Swarm, Kubernetes, Nomad or docker-compose run this application.

    Settings come from the environment, --env-file, pyproject.toml and --set. What looks like a secret is
    named in the files and never written: the command in a file's head gives its value to the engine.
    """
    instance = chosen(name)
    if env_file is None and instance.settings.is_file() and instance.name:
        env_file = instance.settings
    given = _pairs("--set", values)
    os.environ.update({key: value for key, value in given.items() if key.startswith(PREFIX)})
    from_file = _names_in(env_file)
    configuration = configure(app, {"env_file": str(env_file)} if env_file else {})
    plain, kept = variables.divide(
        _settings(configuration)
        | {key: os.environ[key] for key in from_file if not key.startswith(PREFIX)}
        | {key: value for key, value in given.items() if not key.startswith(PREFIX)},
        secrets or (),
        _pairs("--secret-file", secret_files),
    )
    settings = configuration.settings
    title = instance.name or "coachman"
    application = Application(
        name=title,
        image=_image(image or IMAGE.format(title)),
        variables=plain,
        secrets=kept,
        volumes=_volumes(volumes or []),
        replicas=_replicas(replicas, compared, has_volumes=bool(volumes)),
        memory=memory or settings.max_rss_mb or MEMORY,
        cpus=cpus,
        migrate=_migrate(migrate),
        drain=settings.drain_seconds,
        boot=settings.boot_seconds,
        hang=settings.hang_seconds,
    )
    _write(engine, application, out or Path("deploy", engine))


def _settings(configuration: Configuration) -> dict[str, str]:
    """Those that somebody has set, as the environment would have them."""
    from_project = project_file.read(Path.cwd())
    found = {}
    for name in ServerSettings.model_fields:
        if configuration.source(name) != "default":
            value = os.environ.get(f"{PREFIX}{name.upper()}") or setting_values.of_toml(
                from_project.get(name)
            )
            found[name] = _as_text(value)
    return variables.of_settings({name: value for name, value in found.items() if value})


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _names_in(env_file: Path | None) -> list[str]:
    """The file is read, and refused, by configure()."""
    from dotenv import dotenv_values

    if env_file is None or not env_file.is_file():
        return []
    return [key for key, value in dotenv_values(env_file).items() if value is not None]


def _pairs(option: str, texts: Pairs) -> Given:
    found = {}
    for text in texts or ():
        name, sign, value = text.partition("=")
        if not sign or not name.isidentifier():
            fail(f"{option} {text} is refused: it must be NAME=VALUE.")
        found[name] = value
    return found


def _image(image: str) -> str:
    repository, _, tag = image.rpartition(":")
    if not repository or "/" in tag or not tag:
        fail(f"--image {image} is refused: it must be REPOSITORY:TAG, since an update is another tag.")
    return image


def _volumes(volumes: list[str]) -> tuple[str, ...]:
    for path in volumes:
        if not path.startswith("/") or path == "/":
            fail(f"--volume {path} is refused: it must be an absolute path, of a folder in the container.")
    return tuple(volumes)


def _replicas(wanted: int | None, compared: Path | None, *, has_volumes: bool) -> int:
    if compared is not None and wanted is None:
        try:
            wanted = measured.replicas(compared)
        except ValueError as error:
            fail(f"--measured: {error}")
    if has_volumes and (wanted or 1) > 1:
        fail(
            f"--volume is refused beside {wanted} replicas: each node has a volume of its own; keep the data"
            " in a database, or give --replicas 1."
        )
    return wanted or (1 if has_volumes else 2)


def _migrate(command: str | None) -> tuple[str, ...]:
    if command is not None:
        return tuple(shlex.split(command))
    found = _migration.find(Path())
    if found is None:
        return ()
    # The interpreter of this machine is not that of the image.
    return ("python", *found.command[1:]) if found.source == str(_migration.ALEMBIC) else tuple(found.command)


def _write(engine: Engine, application: Application, folder: Path) -> None:
    files = _WRITERS[engine](application)
    try:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        fail(f"{error.filename} cannot be written: {reason}; name another folder with --out.")
    for name in files:
        typer.echo(folder / name)
    typer.echo(_next(engine, application, folder, first=next(iter(files))))


def _next(engine: Engine, application: Application, folder: Path, first: str) -> str:
    """The one sentence that says what to do with the files."""
    begin = f"Next: build and push {application.image}, then run"
    if engine is not Engine.KUBERNETES:
        return f"{begin} the commands in the head of {folder / first}."
    secret = f"`{command_of_secret(application)}`, " if application.secrets else ""
    job = f"`kubectl apply -k {folder / 'migrate'}`, once the Job is complete " if application.migrate else ""
    return f"{begin} {secret}{job}`kubectl apply -k {folder / 'base'}`."
