"""What the service's constants are in most tests, so that they wait less. fast_config.py and tests read it.

Each is proven at its real value in test_real_clock.py, and all of them in tests/vm, tests/container and
test_endurance.py. A service has another value where its environment has TESTS_<CONSTANT>, such as
TESTS_PROBATION_SECONDS. Nothing here may import what fast_config.py changes.
"""

from collections.abc import Mapping

# Module, constant, seconds. A module that others import the constant from comes before them.
CLOCK = [
    ("coachman.master.restart_policy", "MIN_UPTIME_SECONDS", 0.4),
    ("coachman.master.handover", "PROBATION_SECONDS", 0.6),
    ("coachman.master.scheduling", "POLL_SECONDS", 0.1),
    ("coachman.edge.connection_table", "SWEEP_SECONDS", 0.2),
]


def value_of(constant: str, environment: Mapping[str, str]) -> float:
    """What fast_config.py sets that constant to in a service with this environment, in seconds."""
    [seconds] = [seconds for _, name, seconds in CLOCK if name == constant]
    return float(environment.get(f"TESTS_{constant}", seconds))
