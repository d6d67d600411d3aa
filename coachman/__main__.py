"""The entry point of the `coachman` command: what operates a service, and what becomes one."""

import os

try:
    from coachman.cli import cli
    from coachman.cli._configuration import configure
    from coachman.cli._options import Given, with_options
    from coachman.cli.dev import watch_and_serve
    from coachman.cli.run import prepare
except KeyboardInterrupt:  # it takes a moment, and seconds on a busy machine
    raise SystemExit(130) from None


@cli.command()
@with_options
def run(application: str, given: Given) -> None:
    """Serve with supervised workers, in the foreground; Ctrl-C stops it.

    Without MODULE:APP it looks as `fastapi run` does: main.py, app.py, api.py, the same in app/, or what
    pyproject.toml names in its table tool.coachman or tool.fastapi. Each option is a setting, too:
    COACHMAN_WORKERS for --workers. An option goes before the environment, that before the file of --env-file,
    that before pyproject.toml and gunicorn.conf.py. `coachman check --show` prints each value and its source.
    """
    prepared = prepare(application, given)
    # Imported when it is called: all other commands start without Gunicorn.
    from coachman.gunicorn_app import run_master

    run_master(*prepared)


@cli.command()
@with_options
def dev(application: str, given: Given) -> None:
    """Serve in one process, with a line for each request, and start anew when a Python file changes."""
    watch_and_serve(application, given)


@cli.command()
@with_options
def serve(application: str, given: Given) -> None:
    """Serve in this process, without a master: for containers, whose engine supervises and scales."""
    configure(application, given)
    # Imported when it is called: all other commands start without Uvicorn.
    from coachman.standalone import run

    run()


def main() -> None:
    """Runs the command."""
    try:
        os.getcwd()  # noqa: PTH109 - not resolved, as elsewhere
    except FileNotFoundError:
        raise SystemExit("The present folder has been removed; change to another one.") from None
    cli(prog_name="coachman")


if __name__ == "__main__":
    main()
