"""The words for what a run counts."""

import re

_WORKER = re.compile(r"(?<![-\w])([Ww])orker(?=\b|s\b|\(s\))")  # but neither --workers nor uvicorn-worker
_MACHINE = re.compile(r"\b(this|whole) machine\b")  # of the service: replicas are on several


def in_unit(text: str, unit: str) -> str:
    """Returns the text with the run's own unit: sentences and headings are written for workers."""
    if unit == "worker":
        return text
    text = _MACHINE.sub(r"\1 service", text)
    return _WORKER.sub(lambda found: unit.capitalize() if found[1] == "W" else unit, text)
