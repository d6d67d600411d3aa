#!/usr/bin/env python3
"""Renders the files of the shop for orchestrators into deploy/, to be read there: `coachman export`'s own.

Usage: .venv/bin/python scripts/render_exports.py

Run it after a change in coachman/export/; a test compares the two. By hand are
deploy/swarm/postgresql.yaml and prometheus.yaml, for who has none yet, and deploy/kubernetes/overlays.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENGINES = ("swarm", "kubernetes", "nomad")
OPTIONS = (
    *("--set", "SHOP_DATABASE_CONNECTIONS=5", "--secret", "SHOP_DATABASE_URL"),
    *("--secret-file", "SHOP_KEYS_FILE=keys", "--migrate", "python -m app migrate"),
)


def rendered(engine: str) -> dict[Path, str]:
    """Returns the text of each file in deploy/ that is exported, by its path."""
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("COACHMAN_", "SHOP_", "WEB_", "PORT"))
    }
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "coachman", "export", engine, *OPTIONS, "--out", name]
        subprocess.run(command, cwd=ROOT, env=clean, check=True, stdout=subprocess.DEVNULL, timeout=300)
        files = sorted(path for path in Path(name).rglob("*") if path.is_file())
        return {ROOT / "deploy" / engine / path.relative_to(name): path.read_text() for path in files}


if __name__ == "__main__":
    for engine in ENGINES:
        for path, text in rendered(engine).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
