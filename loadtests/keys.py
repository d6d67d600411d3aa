"""The key of a service that wants one, from the environment: a command line is everybody's to read."""

import os

VARIABLE = "LOADTESTS_KEY"


def headers() -> dict[str, str]:
    key = os.environ.get(VARIABLE)
    return {"Authorization": f"Bearer {key}"} if key else {}
