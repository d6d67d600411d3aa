"""`python -m app`: the application's own commands."""

import typer

from app.catalogue import commands as catalogue
from app.keys import commands as keys
from app.maintenance import commands as maintenance
from app.settings import load_settings

cli = typer.Typer(add_completion=False, no_args_is_help=False, pretty_exceptions_enable=False)


@cli.callback(invoke_without_command=True)
def main(context: typer.Context) -> None:
    """The stock-keeping application. Without a command it serves."""
    if context.invoked_subcommand is None:
        serve()


@cli.command()
def serve() -> None:
    """Serve with plain Uvicorn, in one process."""
    from app.serve import serve

    serve()


@cli.command()
def migrate() -> None:
    """Bring the database to the schema that this release needs."""
    from app.migrations.migrate import MigrationError, upgrade
    from app.migrations.revision import REVISION, is_newer
    from durable_database.location import printable

    url = load_settings().database_url
    try:
        before = upgrade(url)
    except MigrationError as error:
        raise SystemExit(str(error)) from None
    name = printable(url)
    if is_newer(before):
        print(f"{name} is at revision {before}, which this release, of {REVISION}, can work with")
    elif before == REVISION:
        print(f"{name} is at revision {REVISION} already")
    else:
        print(f"{name} migrated from {before or 'nothing'} to revision {REVISION}")


cli.add_typer(keys.cli, name="keys")
catalogue.register(cli)
maintenance.register(cli)

if __name__ == "__main__":
    cli()
