"""The job file for Nomad, whose tasks Docker runs."""

import json

from coachman.export.application import Application, Secret
from coachman.export.rendering import block, render

_MIGRATION = """\
# Migrates, and only then does "web" start. The first allocation does it; the others find it done.
task "migrate" {{
  driver = "docker"

  lifecycle {{
    hook = "prestart"
  }}

  config {{
    image      = var.image
    entrypoint = {command}
  }}
{rest}
  resources {{
    cpu    = 100
    memory = 256
  }}
}}

"""


def nomad(application: Application) -> dict[str, str]:
    """Returns the text of the job by the name of its file."""
    values = application.facts()
    variables = {"COACHMAN_DRAIN_SECONDS": str(application.drain)} | dict(application.variables)
    put = [f"{_key(one)}={'@' + one.file if one.file else 'VALUE'}" for one in application.secrets]
    head = [f"# nomad var put nomad/jobs/{application.name} {' '.join(put)}"] if put else []
    values |= {
        "head": "\n".join([*head, f"# nomad job run {application.name}.nomad.hcl"]),
        "environment": _environment(application, variables),
        "templates": _templates(application),
        "migration": _migration(application) if application.migrate else "",
    }
    return {f"{application.name}.nomad.hcl": render("nomad/job.nomad.hcl", values)}


def _migration(application: Application) -> str:
    parts = [_environment(application, application.own_variables), _templates(application)]
    rest = "\n".join(f"  {line}" if line else "" for part in parts for line in part.splitlines())
    return _MIGRATION.format(command=json.dumps(list(application.migrate)), rest=rest and f"\n{rest}")


def _environment(application: Application, variables: dict[str, str]) -> str:
    pairs = {name: json.dumps(value).replace("${", "$${") for name, value in variables.items()}
    pairs |= {one.variable: f'"${{NOMAD_SECRETS_DIR}}/{one.key}"' for one in application.files}
    width = max(map(len, pairs), default=0)
    text = block("env {", (f"{name:{width}} = {value}" for name, value in sorted(pairs.items())))
    return f"{text}\n}}\n\n" if text else ""


def _templates(application: Application) -> str:
    """A template of variables, and one for each file."""
    lines = [f"{one.variable}={_value(application, one)}" for one in application.values]
    texts = []
    for one in application.files:
        head = f'destination = "secrets/{one.key}"\nperms       = "444"'
        texts.append(_template(head, _value(application, one)))
    if lines:
        texts.insert(0, _template('destination = "secrets/env"\nenv         = true', "\n".join(lines)))
    return "\n".join(texts)


def _template(head: str, data: str) -> str:
    return f"{block('template {', [*head.splitlines(), f'data        = {json.dumps(data)}'])}\n}}\n\n"


def _value(application: Application, secret: Secret) -> str:
    variable = f'{{{{ with nomadVar "nomad/jobs/{application.name}" }}}}'
    return f"{variable}{{{{ .{_key(secret)} }}}}{{{{ end }}}}"


def _key(secret: Secret) -> str:
    return secret.key.replace("-", "_")  # a hyphen would be a minus for its templates
