"""Answers cheaply whether FastAPI's tracing is on, which FastAPI asks for each request.

FastAPI asks OpenTelemetry for three providers, and each of them looks into the environment: a third of what
a trivial route costs. As long as nobody has set a provider, there is none.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from opentelemetry import _logs, metrics, trace

_SIGNALS = ("tracer", "meter", "logger")
_MODULES: tuple[Any, ...] = (trace, metrics._internal, _logs._internal)


def install(app: FastAPI) -> None:
    """Replaces the question by a cheap one that has the same answer."""
    telemetry = app._native_telemetry
    if any(telemetry.config[f"{signal}_provider"] is not None for signal in _SIGNALS):  # type: ignore[literal-required]
        return
    telemetry.enabled = _cheap(telemetry.enabled)  # type: ignore[method-assign]


def _cheap(original: Callable[[], bool]) -> Callable[[], bool]:
    tracing, metering, logging = (vars(module) for module in _MODULES)
    environment = os.environ._data  # type: ignore[attr-defined]  # to look into os.environ takes ten times as long
    tracer, meter, logger = (
        os.environ.encodekey(f"OTEL_PYTHON_{signal.upper()}_PROVIDER") for signal in _SIGNALS
    )

    def enabled() -> bool:
        if (
            tracing["_TRACER_PROVIDER"] is None
            and metering["_METER_PROVIDER"] is None
            and logging["_LOGGER_PROVIDER"] is None
            and tracer not in environment
            and meter not in environment
            and logger not in environment
        ):
            return False
        return original()

    return enabled
