"""What is shipped for orchestrators is valid, keeps to one image, and is in step with the timeouts."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import hcl2
import kubernetes_validate
import pytest
import yaml

from app.settings import Settings
from coachman.settings import ServerSettings
from scripts import render_exports

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
RENDERED = ("base", "migrate", "overlays/production", "overlays/local")
VERSIONS = ("1.34", "1.35", "1.36", "1.37")
FILES_OF_SWARM = [
    argument
    for name in ("postgresql", "migrate", "stack", "prometheus")
    for argument in ("--file", DEPLOY / "swarm" / f"{name}.yaml")
]
IMAGE = "registry.example/coachman:1"
SETTINGS = ServerSettings(_env_file=None)  # type: ignore[call-arg]
NAMES = {f"COACHMAN_{name.upper()}" for name in {*ServerSettings.model_fields, *Settings.model_fields}}


def plain() -> list[dict[str, Any]]:
    """Every resource as it stands in the files."""
    files = [path for path in KUBERNETES.rglob("*.yaml") if path.name != "kustomization.yaml"]
    return [one for path in files for one in yaml.safe_load_all(path.read_text())]


def of_kind(resources: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    [found] = [one for one in resources if one["kind"] == kind]
    return found


def rendered(folder: str) -> list[dict[str, Any]]:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("there is no kubectl, whose kustomize renders the overlays")
    done = subprocess.run(
        [kubectl, "kustomize", KUBERNETES / folder], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return list(yaml.safe_load_all(done.stdout))


def pod_of(resource: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = resource["spec"]["template"]["spec"]
    return pod


def validate(resource: dict[str, Any], version: str) -> None:
    if resource["kind"] != "PodMonitor":  # the Prometheus operator's, not Kubernetes'
        kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_are_valid(version: str) -> None:
    for resource in plain():
        validate(resource, version)


def test_a_manifest_with_an_unknown_field_is_not_valid() -> None:
    deployment = of_kind(plain(), "Deployment")
    pod_of(deployment)["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(deployment, VERSIONS[-1])


@pytest.mark.parametrize("folder", RENDERED)
def test_kustomize_renders_what_is_valid(folder: str) -> None:
    resources = rendered(folder)
    for resource in resources:
        for version in VERSIONS:
            validate(resource, version)
    images = {
        container["image"]
        for resource in resources
        if resource["kind"] in ("Deployment", "Job")
        for container in pod_of(resource)["containers"]
    }
    assert images == {"localhost/coachman:1" if folder == "overlays/local" else IMAGE}


def test_overlays_change_what_they_say() -> None:
    production = rendered("overlays/production")
    assert of_kind(production, "HorizontalPodAutoscaler")["spec"]["minReplicas"] == 3
    assert of_kind(production, "ConfigMap")["data"].keys() > {
        "COACHMAN_TRUSTED_PROXIES",
        "SHOP_KEYS_FILE",
    }
    assert {one["metadata"]["namespace"] for one in production} == {"coachman"}
    of_kind(production, "PodMonitor")
    assert {one["kind"] for one in rendered("overlays/local")} == {"ConfigMap", "Service", "Deployment"}


def test_what_refers_to_pods_finds_them_and_their_ports() -> None:
    resources = plain()
    deployment = of_kind(resources, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert of_kind(resources, "Service")["spec"]["selector"] == labels
    for kind in ("PodDisruptionBudget", "PodMonitor"):
        assert of_kind(resources, kind)["spec"]["selector"]["matchLabels"] == labels
    for spread in pod_of(deployment)["topologySpreadConstraints"]:
        assert spread["labelSelector"]["matchLabels"] == labels
    # The Service must not send requests to the pod that migrates; the policy holds for both.
    migrating = of_kind(resources, "Job")["spec"]["template"]["metadata"]["labels"]
    assert not labels.items() <= migrating.items()
    assert (
        of_kind(resources, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= migrating.items()
    )

    ports = {port["name"] for port in pod_of(deployment)["containers"][0]["ports"]}
    assert of_kind(resources, "Service")["spec"]["ports"][0]["targetPort"] in ports
    assert of_kind(resources, "PodMonitor")["spec"]["podMetricsEndpoints"][0]["port"] in ports
    policy = of_kind(resources, "NetworkPolicy")["spec"]["ingress"]
    assert {port["port"] for rule in policy for port in rule["ports"]} == ports


def test_pods_are_as_confined_as_the_unit() -> None:
    for kind in ("Deployment", "Job"):
        pod = pod_of(of_kind(plain(), kind))
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["containers"][0]["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_the_end_of_a_pod_has_room_for_its_pause_and_its_drain() -> None:
    pod = pod_of(of_kind(plain(), "Deployment"))
    pause = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    readiness = pod["containers"][0]["readinessProbe"]
    assert pause >= readiness["periodSeconds"] * readiness["failureThreshold"]
    assert pod["terminationGracePeriodSeconds"] >= pause + SETTINGS.kill_seconds + 5


def test_probes_allow_what_the_settings_allow() -> None:
    [web] = pod_of(of_kind(plain(), "Deployment"))["containers"]
    startup, liveness = web["startupProbe"], web["livenessProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= SETTINGS.boot_seconds
    assert liveness["periodSeconds"] * liveness["failureThreshold"] >= SETTINGS.hang_seconds
    assert {web[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness")} == {"/readyz"}
    assert liveness["httpGet"]["path"] == "/livez"


def test_every_setting_that_is_set_exists() -> None:
    files = [
        *DEPLOY.glob("container/*"),
        *KUBERNETES.rglob("*.yaml"),
        *DEPLOY.glob("swarm/*"),
        *DEPLOY.glob("nomad/*"),
    ]
    for file in files:
        assert set(re.findall(r"COACHMAN_[A-Z_]+[A-Z]", file.read_text())) <= NAMES | {"COACHMAN_PORT"}, file


@pytest.mark.parametrize("engine", render_exports.ENGINES)
def test_the_shipped_files_are_what_is_exported_for_the_shop(engine: str) -> None:
    for path, text in render_exports.rendered(engine).items():
        assert path.read_text() == text, f"{path} differs: run scripts/render_exports.py"


def test_the_swarm_stack_is_read_by_docker_compose() -> None:
    compose = shutil.which("docker-compose")
    if compose is None:
        if "CI" in os.environ:
            pytest.fail("there is no docker-compose, and CI is set")
        pytest.skip("there is no docker-compose, which reads stack files")
    done = subprocess.run(
        [compose, *FILES_OF_SWARM, "config"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    web = yaml.safe_load(done.stdout)["services"]["web"]
    assert web["image"] == IMAGE
    assert web["deploy"]["update_config"]["order"] == "start-first"
    grace = web["stop_grace_period"]
    assert int(grace.removesuffix("s")) > SETTINGS.kill_seconds, grace
    assert web["read_only"] is True
    assert web["cap_drop"] == ["ALL"]


def test_the_nomad_job_is_read_by_an_hcl_parser() -> None:
    with (DEPLOY / "nomad" / "coachman.nomad.hcl").open() as file:
        read = hcl2.load(file)
    assert _named(read["variable"], "image")["default"] == f'"{IMAGE}"'
    group = _named(_named(read["job"], "coachman")["group"], "web")
    [service] = group["service"]
    [ports] = group["network"]
    assert {check["path"] for check in service["check"]} == {'"/readyz"', '"/livez"'}
    assert {label for port in ports["port"] for label in port} == {'"http"', '"ops"'}
    assert {check["port"] for check in service["check"]} == {'"ops"'}
    web = _named(group["task"], "web")
    assert int(web["kill_timeout"].strip('"s')) > SETTINGS.kill_seconds
    assert int(web["shutdown_delay"].strip('"s')) >= 5
    assert web["config"][0]["readonly_rootfs"] is True
    assert _named(group["task"], "migrate")["lifecycle"][0]["hook"] == '"prestart"'


def _named(blocks: list[dict[str, Any]], label: str) -> dict[str, Any]:
    [block] = [block[f'"{label}"'] for block in blocks if f'"{label}"' in block]
    return dict(block)
