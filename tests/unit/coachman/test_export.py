"""`coachman export`: what is written for each engine is valid, and no secret's value is in it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import hcl2
import kubernetes_validate
import pytest
import yaml

from coachman.export import measured, variables
from coachman.export.application import Application, Secret
from coachman.export.kubernetes import kubernetes
from coachman.export.nomad import nomad
from coachman.export.rendering import block, scalar
from coachman.export.stacks import compose, swarm

ROOT = Path(__file__).parents[3]
VERSIONS = ("1.34", "1.35", "1.36", "1.37")
PASSWORD = "hunter2"
URL = Secret("DATABASE_URL", "database-url")
TOKEN = Secret("API_TOKEN", "api-token")
CERTIFICATE = Secret("CA_FILE", "ca-pem", "certs/ca.pem")
AWKWARD = {"GREETING": 'say "hi": $HOME, ${X} # it\'s', "FLAG": "on", "NUMBER": "07", "EMPTY": ""}
FULL = Application(
    name="shop",
    image="registry.example/team/shop:2026.11",
    variables=AWKWARD | {"COACHMAN_APP": "shop.web:app", "COACHMAN_PROBE": "/health"},
    secrets=(URL, TOKEN, CERTIFICATE),
    replicas=3,
    memory=512,
    cpus=1.5,
    migrate=("alembic", "upgrade", "head"),
    drain=45,
    boot=120,
    hang=60,
)
BARE = Application(name="api", image="registry.example/api:1")
KEEPING = Application(name="notes", image="registry.example/notes:1", volumes=("/var/lib/notes",), replicas=1)
APPLICATIONS = pytest.mark.parametrize("application", [FULL, BARE, KEEPING], ids=lambda one: one.name)


def export(engine: str, *options: str, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("COACHMAN_", "WEB_"))}
    return subprocess.run(
        [sys.executable, "-m", "coachman", "export", engine, *options],
        cwd=cwd,
        env=clean | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def read(text: str) -> Any:
    return yaml.safe_load(text)


def read_by_compose(folder: Path, name: str, files: dict[str, str], *secrets: str) -> dict[str, Any]:
    program = shutil.which("docker-compose")
    if program is None:
        if "CI" in os.environ:
            pytest.fail("there is no docker-compose, and CI is set")
        pytest.skip("there is no docker-compose, which reads stack files")
    (folder / "secrets").mkdir(parents=True)
    for secret in secrets:
        (folder / "secrets" / secret).write_text(PASSWORD)
    for one, text in files.items():
        (folder / one).write_text(text)
    done = subprocess.run(
        [program, "--file", name, "config"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = read(done.stdout)
    return found


@pytest.mark.parametrize("version", VERSIONS)
@APPLICATIONS
def test_the_kubernetes_files_are_valid(application: Application, version: str) -> None:
    for name, text in kubernetes(application).items():
        if not name.endswith("kustomization.yaml"):
            kubernetes_validate.validate(read(text), version, strict=True)


@APPLICATIONS
def test_kustomize_finds_each_file_that_it_names(application: Application) -> None:
    files = kubernetes(application)
    for folder in ("base", "migrate"):
        if f"{folder}/kustomization.yaml" in files:
            named = read(files[f"{folder}/kustomization.yaml"])["resources"]
            there = {name.removeprefix(f"{folder}/") for name in files if name.startswith(f"{folder}/")}
            assert set(named) == there - {"kustomization.yaml"}


def test_kubernetes_has_the_settings_limits_and_times_of_the_application() -> None:
    files = kubernetes(FULL)
    pod = read(files["base/deployment.yaml"])["spec"]["template"]["spec"]
    [web] = pod["containers"]
    assert pod["terminationGracePeriodSeconds"] == 45 + 20
    assert web["startupProbe"]["failureThreshold"] == 120
    assert web["livenessProbe"]["failureThreshold"] == 6
    assert web["resources"]["limits"] == {"memory": "512Mi"}
    assert web["resources"]["requests"] == {"cpu": "1500m", "memory": "256Mi"}
    assert [one["name"] for one in web["env"]] == ["DATABASE_URL", "API_TOKEN"]
    assert web["env"][0]["valueFrom"]["secretKeyRef"] == {"name": "shop", "key": "database-url"}
    kustomization = read(files["base/kustomization.yaml"])
    literals = dict(literal.split("=", 1) for literal in kustomization["configMapGenerator"][0]["literals"])
    assert literals == AWKWARD | {
        "COACHMAN_APP": "shop.web:app",
        "COACHMAN_PROBE": "/health",
        "COACHMAN_DRAIN_SECONDS": "45",
        "CA_FILE": "/etc/coachman/ca-pem",
    }
    assert kustomization["images"] == [
        {"name": "shop", "newName": "registry.example/team/shop", "newTag": "2026.11"}
    ]
    assert read(files["base/autoscaler.yaml"])["spec"]["minReplicas"] == 3
    [job] = read(files["migrate/job.yaml"])["spec"]["template"]["spec"]["containers"]
    assert job["command"] == ["alembic", "upgrade", "head"]
    assert {one["name"] for one in job["env"]} == {*AWKWARD, "DATABASE_URL", "API_TOKEN"}


@APPLICATIONS
def test_the_stack_of_swarm_is_read_by_docker_compose(application: Application, tmp_path: Path) -> None:
    web = read_by_compose(tmp_path / "stack", "stack.yaml", swarm(application))["services"]["web"]
    assert web["image"] == application.image
    assert web["deploy"]["replicas"] == application.replicas
    order = "stop-first" if application.volumes else "start-first"
    assert web["deploy"]["update_config"]["order"] == order
    assert web["deploy"]["update_config"]["failure_action"] == "rollback"
    if application.migrate:
        config = read_by_compose(tmp_path / "job", "migrate.yaml", swarm(application))
        deploy = config["services"]["migrate"]["deploy"]
        assert deploy["restart_policy"]["condition"] == "on-failure"


@APPLICATIONS
def test_the_compose_file_is_read_by_docker_compose(application: Application, tmp_path: Path) -> None:
    keys = [one.key for one in application.secrets]
    config = read_by_compose(tmp_path / "compose", "compose.yaml", compose(application), *keys)
    assert ("migrate" in config["services"]) is bool(application.migrate)
    assert ("volumes" in config) is bool(application.volumes)


def test_a_dollar_and_a_quote_arrive_as_they_are(tmp_path: Path) -> None:
    web = read_by_compose(tmp_path / "stack", "stack.yaml", swarm(FULL))["services"]["web"]
    # What it prints is to be read again, so that it doubles them too.
    unescaped = {name: value.replace("$$", "$") for name, value in web["environment"].items()}
    assert unescaped.items() >= AWKWARD.items()
    shell = " ".join(web["entrypoint"]).replace("$$", "$")
    assert 'DATABASE_URL="$(cat /run/secrets/database-url)"; export DATABASE_URL;' in shell
    assert shell.endswith("exec python -m coachman serve")


@APPLICATIONS
def test_the_nomad_job_is_read_by_an_hcl_parser(application: Application) -> None:
    [text] = nomad(application).values()
    job = hcl2.loads(text)["job"][0][f'"{application.name}"']
    group = job["group"][0]['"web"']
    tasks = [label.strip('"') for task in group["task"] for label in task if not label.startswith("_")]
    assert tasks == (["migrate", "web"] if application.migrate else ["web"])
    assert group["count"] == application.replicas


def test_what_an_application_does_not_have_leaves_no_trace() -> None:
    for files in (swarm(BARE), compose(BARE), nomad(BARE), kubernetes(BARE)):
        for name, text in files.items():
            assert "secrets:" not in text, name
            assert "migrat" not in text.replace("migrated", ""), name
            assert "@" not in text.replace("location @away", "").replace("=503 @away", ""), name


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DATABASE_URL", "postgresql://db.example/shop", True),
        ("BROKER", "amqp://user:pw@mq.example", True),
        ("UPSTREAM", "https://user:pw@api.example/", True),
        ("UPSTREAM", "https://api.example/", False),
        ("STRIPE_API_KEY", "x", True),
        ("SIGNING_KEYS", "x", True),
        ("JWT_SECRET", "x", True),
        ("SENTRY_DSN", "x", True),
        ("KEYBOARD", "qwerty", False),
        ("SHOP_KEYS_FILE", "var/keys", False),
        ("LOG_LEVEL", "info", False),
    ],
)
def test_secrets_are_known_by_name_or_value(name: str, value: str, expected: bool) -> None:
    assert variables.is_secret(name, value) is expected


def test_settings_that_the_engine_decides_are_left_out() -> None:
    found = variables.of_settings({"app": "main:app", "bind": "0.0.0.0:80", "workers": "4", "loop": "uvloop"})
    assert found == {"COACHMAN_APP": "main:app", "COACHMAN_LOOP": "uvloop"}


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ("**Run 4 workers: no other number measured does more than its 900 requests/s**", 4),
        ("**Run 3 replicas: no other number measured does more than its 90 requests/s**", 3),
        ("**Run 1 worker: 300 requests/s**\n\n**Run 3 workers: 900 requests/s**", 3),
        ("**Perhaps 2 workers: this run cannot tell yet.**", 2),
        ("**2 to 4 workers: this run cannot tell them apart; more would. Lean to 2.**", 2),
    ],
)
def test_replicas_are_what_a_run_of_compare_recommends(tmp_path: Path, summary: str, expected: int) -> None:
    (tmp_path / "summary.md").write_text(f"## Mixed\n\n{summary}\n")
    assert measured.replicas(tmp_path) == expected


def test_a_run_without_an_answer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        measured.replicas(tmp_path)
    (tmp_path / "summary.md").write_text("**No answer: too few repeats.**")
    with pytest.raises(ValueError, match="has no answer: give --replicas"):
        measured.replicas(tmp_path)


def test_blocks_and_scalars() -> None:
    assert block("a:", ["b", "c"]) == "a:\n  b\n  c"
    assert block("a:", []) == ""
    for text in ("plain", "/a/path", "on", "12", "1.5", "~", "a: b", "x # y", 'quo"te', "", "-"):
        assert yaml.safe_load(scalar(text)) == text


def test_the_command_takes_settings_from_everywhere_and_writes_no_secret(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.coachman]\nkeepalive-seconds = 7\nmigrate = "python -m shop.migrate"\n'
    )
    (tmp_path / "shop.env").write_text(
        f"DATABASE_URL=postgresql://shop:{PASSWORD}@db/shop\nCOACHMAN_PROBE=/health\nCURRENCY=EUR\n"
    )
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "summary.md").write_text("**Run 5 workers: 1,200 requests/s**")
    options = ["-n", "shop", "--env-file", "shop.env", "--measured", "build"]
    options += ["--set", f"COOKIE_SECRET={PASSWORD}", "--set", "COACHMAN_DRAIN_SECONDS=33"]
    options += ["--image", "registry.example/shop:9"]
    environment = {"COACHMAN_MAX_RSS_MB": "700", "COACHMAN_WORKERS": "4"}

    for engine in ("swarm", "kubernetes", "nomad", "compose"):
        done = export(engine, *options, cwd=tmp_path, **environment)

        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1].startswith(
            "Next: build and push registry.example/shop:9, then run"
        )
        folder = tmp_path / "deploy" / engine
        texts = {path: path.read_text() for path in folder.rglob("*") if path.is_file()}
        assert set(done.stdout.splitlines()[:-1]) == {str(path.relative_to(tmp_path)) for path in texts}
        together = "\n".join(texts.values())
        assert PASSWORD not in together
        assert "COACHMAN_WORKERS" not in together
        for expected in ("COACHMAN_KEEPALIVE_SECONDS", "COACHMAN_PROBE", "/health", "EUR", "33", "700", "5"):
            assert expected in together, (engine, expected)
        assert "shop.migrate" in together


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--set", "X"], "--set X is refused: it must be NAME=VALUE."),
        (["--image", "shop"], "--image shop is refused: it must be REPOSITORY:TAG"),
        (["--volume", "data"], "--volume data is refused: it must be an absolute path"),
        (["--volume", "/data", "--replicas", "2"], "--volume is refused beside 2 replicas"),
        (["--measured", "nowhere"], "--measured: nowhere/summary.md cannot be read"),
        (["--set", "COACHMAN_DRAIN_SECONDS=no"], "COACHMAN_DRAIN_SECONDS=no is refused: it must be whole"),
        (["--out", "main.py"], "name another folder with --out"),
        (["-n", "NO"], "--name NO is refused"),
    ],
)  # fmt: skip
def test_a_wrong_option_ends_in_one_sentence(tmp_path: Path, options: list[str], sentence: str) -> None:
    (tmp_path / "main.py").write_text("")
    done = export("swarm", *options, cwd=tmp_path)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "deploy").exists()


def test_an_application_without_anything_is_exported(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("")
    done = export("kubernetes", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = "Next: build and push IMAGE, then run `kubectl apply -k deploy/kubernetes/base`."
    assert done.stdout.splitlines()[-1] == expected.replace("IMAGE", "registry.example/coachman:1")


def test_values_that_look_like_json_stay_texts() -> None:
    text = kubernetes(Application("api", "r/api:1", {"ORIGINS": '["https://a.example"]'}))
    literals = read(text["base/kustomization.yaml"])["configMapGenerator"][0]["literals"]
    assert f"ORIGINS={json.dumps(['https://a.example'])}" in literals
