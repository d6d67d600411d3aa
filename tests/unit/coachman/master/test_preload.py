"""What is known of an import is passed to the next master, once."""

from types import SimpleNamespace

from coachman.master import preload
from coachman.system.environment_names import MADE_AT_IMPORT


def test_what_a_check_has_found_reaches_the_next_master_and_no_further() -> None:
    environment = {"OTHER": "kept"}
    printed = (
        "main:app loads; 2 workers\n"
        "Made at import: the thread scheduler, which no worker will have\n"
        "Made at import: an open socket (2 times), which all workers would share\n"
        "So each worker will load the application itself.\n"
    )

    preload.note_check(environment, printed)

    assert preload.made_at_import(environment) == [
        "the thread scheduler, which no worker will have",
        "an open socket (2 times), which all workers would share",
    ]
    assert environment == {"OTHER": "kept"}
    assert preload.made_at_import(environment) == []


def test_a_check_that_has_found_nothing_leaves_the_environment_as_it_is() -> None:
    environment: dict[str, str] = {}

    preload.note_check(environment, "main:app loads; 2 workers")

    assert MADE_AT_IMPORT not in environment


def test_a_master_that_has_found_nothing_goes_on() -> None:
    arbiter = SimpleNamespace(cfg=SimpleNamespace(env_orig={}), pidfile=None)

    preload.start_again_if_needed(arbiter, [])

    assert arbiter.cfg.env_orig == {}
