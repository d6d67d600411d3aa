"""The files for Kubernetes, as two folders of kustomize: what serves, and the migration before it."""

import json

from coachman.export.application import Application, Secret
from coachman.export.rendering import block, render, scalar

_MOUNTED = "/etc/coachman"
_BASE = ("deployment.yaml", "service.yaml", "network.yaml", "kustomization.yaml")
_OF_SEVERAL = ("autoscaler.yaml", "disruption.yaml")  # replicas, of which one may go
_ROLLING = """\
rollingUpdate:
  maxUnavailable: 0 # the old ones go once the new ones are ready, as in a handover
  maxSurge: 1"""
_ALONE = "type: Recreate # two must not have the volume at once"
_SCALED = "# The HorizontalPodAutoscaler sets replicas; a number here would set them back at each apply."


def kubernetes(application: Application) -> dict[str, str]:
    """Returns the texts of the files by their paths."""
    values = application.facts() | _values(application)
    files = {f"base/{name}": render(f"kubernetes/base/{name}", values) for name in _BASE}
    if not application.volumes:
        files |= {f"base/{name}": render(f"kubernetes/base/{name}", values) for name in _OF_SEVERAL}
    for path in application.volumes:
        claim = values | {"volume": application.volume_name(path)}
        files[f"base/{claim['volume']}.yaml"] = render("kubernetes/base/claim.yaml", claim)
    if application.migrate:
        own = {"secrets": _environment(application, application.own_variables)}
        for name in ("job.yaml", "kustomization.yaml"):
            files[f"migrate/{name}"] = render(f"kubernetes/migrate/{name}", values | own)
    return files


def _values(application: Application) -> dict[str, str]:
    names = {path: application.volume_name(path) for path in application.volumes}
    resources = [f"{name}.yaml" for name in names.values()] or list(_OF_SEVERAL)
    return {
        "needs": _needs(application),
        "literals": "\n".join(f"- {_literal(pair)}" for pair in sorted(_variables(application).items())),
        "several": "\n".join(f"- {name}" for name in resources),
        "strategy": _ALONE if application.volumes else _ROLLING,
        "replicas_of_deployment": "replicas: 1" if application.volumes else _SCALED,
        "migrate": json.dumps(list(application.migrate)),
        "secrets": _environment(application, {}),
        "mounts": "\n".join(_mounts(application, names)),
        "volumes": "\n".join(_volumes(application, names)),
    }


def _mounts(application: Application, names: dict[str, str]) -> list[str]:
    of_secrets = [f"- name: secrets\n  mountPath: {_MOUNTED}\n  readOnly: true"] if application.files else []
    return of_secrets + [f"- name: {name}\n  mountPath: {path}" for path, name in names.items()]


def _volumes(application: Application, names: dict[str, str]) -> list[str]:
    of_secrets = [_secret_volume(application)] if application.files else []
    claim = "- name: {0}\n  persistentVolumeClaim:\n    claimName: {1}-{0}"
    return of_secrets + [claim.format(name, application.name) for name in names.values()]


def _variables(application: Application) -> dict[str, str]:
    drain = {"COACHMAN_DRAIN_SECONDS": str(application.drain)}
    files = {one.variable: f"{_MOUNTED}/{one.key}" for one in application.files}
    return drain | dict(application.variables) | files


def _literal(pair: tuple[str, str]) -> str:
    text = "=".join(pair)
    # A text after a colon or a hash would be something else for YAML.
    return json.dumps(text, ensure_ascii=False) if set(text) & set(":#\"'{}[]&*!|>%@`\n") else text


def _environment(application: Application, variables: dict[str, str]) -> str:
    lines = []
    for name, value in sorted(variables.items()):
        lines += [f"- name: {name}", f"  value: {scalar(value)}"]
    for one in application.values:
        lines += [
            f"- name: {one.variable}",
            "  valueFrom:",
            "    secretKeyRef:",
            f"      name: {application.name}",
            f"      key: {one.key}",
        ]
    return block("env:", lines)


def _secret_volume(application: Application) -> str:
    items = [line for one in application.files for line in (f"- key: {one.key}", f"  path: {one.key}")]
    secret = [
        f"secretName: {application.name}",
        "defaultMode: 0440",
        *block("items:", items).splitlines(),
    ]
    return block("- name: secrets\n  secret:", secret, indent=4)


def _needs(application: Application) -> str:
    keys = [one.key for one in application.secrets]
    if not keys:
        return "It needs no Secret."
    named = keys[0] if len(keys) == 1 else f"{', '.join(keys[:-1])} and {keys[-1]}"
    return f"It needs a Secret named {application.name}, with the key{'s' * (len(keys) > 1)} {named}."


def command_of_secret(application: Application) -> str:
    """Returns the command that makes the Secret, with a place for each value."""
    return " ".join(
        [
            f"kubectl create secret generic {application.name}",
            *map(_source, application.secrets),
        ]
    )


def _source(secret: Secret) -> str:
    if secret.file:
        return f"--from-file={secret.key}={secret.file}"
    return f"--from-literal={secret.key}=VALUE"
