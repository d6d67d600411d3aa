"""The files for Docker Swarm, and for docker-compose, which share their format."""

import json
import shlex
from collections.abc import Iterator

from coachman.export.application import HEALTH, Application, Secret
from coachman.export.rendering import block, mapping, render

SERVE = "exec python -m coachman serve"
INGRESS_IMAGE = "docker.io/library/nginx:1.28"
_MOUNTED = "/run/secrets"
_WHY_A_SHELL = (
    "# A secret is a file, the application reads a variable: the shell hands it on, and becomes the server."
)


def swarm(application: Application) -> dict[str, str]:
    """Returns the texts of the files by their names."""
    after = "     after migrate.yaml" if application.migrate else ""
    deploy = f"# docker stack deploy --compose-file stack.yaml {application.name}{after}"
    values = application.facts() | _common(application)
    values |= {
        "head": "\n".join([*(_create(application, one) for one in application.secrets), deploy]),
        "order": "stop-first # two must not have the volume at once"
        if application.volumes
        else "start-first",
        "secrets_of_stack": block("secrets:", _external_secrets(application)),
    }
    files = {name: render(f"swarm/{name}", values) for name in ("stack.yaml", "ingress.conf")}
    if application.migrate:
        files["migrate.yaml"] = render("swarm/migrate.yaml", values | _of_migration(application))
    return files


def compose(application: Application) -> dict[str, str]:
    """Returns the texts of the files by their names. Secrets are files in secrets/, which are not written."""
    secrets = application.secrets
    head = [f"# put {one.file or f'the value of {one.variable}'} into secrets/{one.key}" for one in secrets]
    files = (line for one in secrets for line in (f"{one.key}:", f"  file: ./secrets/{one.key}"))
    values = application.facts() | _common(application)
    values |= {
        "head": "\n".join([*head, "# docker-compose up --detach"]),
        "secrets_of_stack": block("secrets:", files),
        "depends": "",
        "migration": "",
    }
    if application.migrate:
        waits = ["migrate:", "  condition: service_completed_successfully"]
        values["depends"] = block("depends_on:", waits)
        values["migration"] = _migration_of_compose(application, values)
    return {
        "compose.yaml": render("compose/compose.yaml", values),
        "ingress.conf": render("swarm/ingress.conf", values),
    }


def _create(application: Application, secret: Secret) -> str:
    name = f"{application.name}-{secret.key}"
    if secret.file:
        return f"# docker secret create {name} {secret.file}"
    return f"# printf %s VALUE | docker secret create {name} -"


def _external_secrets(application: Application) -> Iterator[str]:
    """A secret of Swarm is of all stacks, so its name has the application's before it."""
    for one in application.secrets:
        yield from (f"{one.key}:", "  external: true", f"  name: {application.name}-{one.key}")


def _common(application: Application) -> dict[str, str]:
    environment = dict(application.variables) | {
        one.variable: f"{_MOUNTED}/{one.key}" for one in application.files
    }
    # Whoever is in this network may say whom a request is from: that is the ingress.
    environment.setdefault("COACHMAN_TRUSTED_PROXIES", "*")
    environment.setdefault("COACHMAN_DRAIN_SECONDS", str(application.drain))
    names = [application.volume_name(path) for path in application.volumes]
    mounts = [f"- {name}:{path}" for name, path in zip(names, application.volumes, strict=True)]
    keys = ", ".join(one.key for one in application.secrets)
    return {
        "environment": "\n".join(mapping(_escaped(environment))),
        "entrypoint": f"{_WHY_A_SHELL}\nentrypoint: {_shell(application, SERVE)}"
        if application.values
        else "",
        "secrets": f"secrets: [{keys}]" if keys else "",
        "health": json.dumps(HEALTH),
        "ingress_image": INGRESS_IMAGE,
        "mounts": "\n".join(mounts),
        "volumes_of_service": block("volumes:", mounts),
        "volumes_of_stack": block("volumes:", (f"{name}:" for name in names)),
    }


def _of_migration(application: Application) -> dict[str, str]:
    environment = application.own_variables | {
        one.variable: f"{_MOUNTED}/{one.key}" for one in application.files
    }
    command = f"exec {shlex.join(application.migrate)}"
    return {
        "environment": "\n".join(mapping(_escaped(environment))),
        "migrate": _shell(application, command)
        if application.values
        else json.dumps(list(application.migrate)),
    }


def _migration_of_compose(application: Application, values: dict[str, str]) -> str:
    own = _of_migration(application)
    lines = [
        f"image: {application.image}",
        *block("environment:", own["environment"].splitlines()).splitlines(),
        f"entrypoint: {own['migrate']}",
        *values["secrets"].splitlines(),
        "read_only: true",
        "tmpfs:",
        "  - /tmp:size=256m",
        "cap_drop: [ALL]",
    ]
    return block("migrate:", lines) + "\n\n"


def _shell(application: Application, command: str) -> str:
    """A shell that reads the files of secrets into the variables that the application reads."""
    reads = [
        f'{one.variable}="$(cat {_MOUNTED}/{one.key})"; export {one.variable}; ' for one in application.values
    ]
    words = f"{''.join(reads)}{command}".replace("$", "$$").replace("'", "''")
    return f"[/bin/sh, -ec, '{words}']"


def _escaped(pairs: dict[str, str]) -> dict[str, str]:
    """A dollar would name a variable of who deploys."""
    return {name: value.replace("$", "$$") for name, value in sorted(pairs.items())}
