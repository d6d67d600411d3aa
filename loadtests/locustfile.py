"""For Locust's own command line, web interface and distributed mode.

    locust -f loadtests/locustfile.py --host http://127.0.0.1:8000
    locust -f loadtests/locustfile.py --host http://127.0.0.1:8000 --headless -u 20 -t 30s Clerk

Without a class all three below run, 7 readers to 2 clerks to 1 label printer. `--arrivals 200` makes each
process an open loop of 200 requests a second, which the users share; latency still counts from the send
there. They ask for items LOADTEST-000 to -099, which are made where they are missing.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # Locust looks in this file's folder only

import gevent
from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner

from loadtests.selfcheck import require_strict_client
from loadtests.users import Clerk, LabelPrinter, Reader, StrictUser
from loadtests.users.arrivals import Arrivals
from loadtests.users.items import NoItemsError, stock_up

__all__ = ["Clerk", "LabelPrinter", "Reader"]


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser) -> None:
    parser.add_argument("--arrivals", type=float, default=0, help="Requests a second of each process, or 0")


@events.init.add_listener
def check_client(**_: Any) -> None:
    require_strict_client()


@events.test_start.add_listener
def prepare(environment: Environment, **_: Any) -> None:
    if isinstance(environment.runner, MasterRunner):  # its workers send the requests
        return
    try:
        stock_up(environment.host or "")
    except NoItemsError as error:
        environment.process_exit_code = 1
        print(error, file=sys.stderr)
        gevent.spawn(_quit, environment)
    rate = getattr(environment.parsed_options, "arrivals", 0)
    StrictUser.arrivals = Arrivals(rate) if rate else None


def _quit(environment: Environment) -> None:
    """A process of a distributed run may be told to start before it has its runner."""
    while environment.runner is None:
        gevent.sleep(0.01)
    environment.runner.quit()
