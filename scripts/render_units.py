#!/usr/bin/env python3
"""Renders the files of the unnamed application into systemd/ and deploy/nginx/, to be read there.

Usage: .venv/bin/python scripts/render_units.py

Run it after a change in coachman/machine/templates/; a test compares the two.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from coachman.machine import units  # noqa: E402 - found by the line above
from coachman.releases.instance import UNNAMED  # noqa: E402


def rendered() -> dict[Path, str]:
    """Returns the text of each file in systemd/ that is rendered, by its path."""
    files = units.render(UNNAMED, units.Addresses(), is_sealed=True, systemd=units.FOLDERS_OF_CREDENTIALS)
    shown = {ROOT / "systemd" / "sysusers.conf": units.account(UNNAMED)[1]}
    shown[ROOT / "deploy" / "nginx" / "coachman.conf"] = units.nginx(UNNAMED, "shop.example")
    for path, text in files.items():
        folder = "systemd/drop-ins" if path.parent == units.drop_ins(UNNAMED) else "systemd"
        shown[ROOT / folder / path.name] = text
    return shown


if __name__ == "__main__":
    for path, text in rendered().items():
        path.write_text(text, encoding="utf-8")
