"""Runs the own tests of FastAPI and of Starlette with every application compiled: `make test-compiler`.

They must pass as they do without the compiler, and enough of their requests must have been answered by
compiled functions. Exits with 1 if not.
"""

import argparse
import json
import sys

from tests.compiler.conformance.suites import HERE, OLDER, REPOSITORY, Outcome, Suite, locked

EXPECTED = HERE / "expected.json"
PART_SHARE = 0.4  # of the requests of a part that must be compiled; of the whole it is two thirds


def main() -> None:
    parser = argparse.ArgumentParser(prog="make test-compiler", description=__doc__)
    parser.add_argument("--version", help="of FastAPI; the locked one by default")
    parser.add_argument("--older", action="store_true", help="run those of the older versions, one by one")
    parser.add_argument("--starlette", action="store_true", help="run Starlette's tests")
    parser.add_argument("--part", action="store_true", help="an eighth of the files, others with each commit")
    parser.add_argument("--stock", action="store_true", help="run the tests without the compiler")
    parser.add_argument("--own", action="store_true", help="run Coachman's tests of the compiler instead")
    parser.add_argument("--learn", action="store_true", help="add the fingerprints of the version")
    parser.add_argument("tests", nargs="*", help="files of the suite, such as tests/test_sse.py")
    options = parser.parse_args()
    if options.starlette:
        compare(Suite("starlette", locked("starlette")), options)
        return
    for version in OLDER if options.older else [options.version or locked("fastapi")]:
        suite = Suite("fastapi", version)
        if options.learn:
            suite.learn()
        elif options.own:
            suite.run_own(options.tests or ["tests/compiler"])
        elif options.stock or suite.name in expectations():
            run(suite, options)
        else:
            compare(suite, options)


def expectations() -> dict[str, dict[str, int]]:
    """Returns what each supported version has come to, by the name of its suite."""
    found: dict[str, dict[str, int]] = json.loads(EXPECTED.read_text())
    return found


def run(suite: Suite, options: argparse.Namespace) -> None:
    """Runs a suite, and ends the program if less is true than of the last time."""
    suite.prepare()
    tests = suite.part() if options.part else options.tests or ["tests"]
    outcome = suite.run(tests, "stock" if options.stock else "compiled")
    if options.stock:
        print("\n".join(sorted(outcome.failed)))
        return
    show(outcome)
    expected = expectations()[suite.name]
    if outcome.failed:
        print("\n".join(sorted(outcome.failed)))
        log = suite.log.relative_to(REPOSITORY)
        raise SystemExit(f"{len(outcome.failed)} of its own tests failed; {log} has all of it.")
    compiled, left = outcome.requests["compiled"], outcome.requests["left"]
    if options.part:
        if compiled < PART_SHARE * (compiled + left):
            raise SystemExit(f"{compiled} of {compiled + left} requests were compiled: too few.")
    elif not options.tests:
        if outcome.passed < expected["passed"]:
            raise SystemExit(f"{outcome.passed} passed, and {expected['passed']} do without the compiler.")
        if compiled < expected["compiled_requests"]:
            raise SystemExit(f"{compiled} requests were compiled, {expected['compiled_requests']} before.")


def compare(suite: Suite, options: argparse.Namespace) -> None:
    """Runs a suite without the compiler and with it, and ends the program if other tests fail.

    Starlette's tests run on FastAPI, which derives from it, and some of them fail there in any case.
    """
    suite.prepare()
    tests = suite.part() if options.part else options.tests or ["tests"]
    stock = suite.run(tests, "stock")
    compiled = suite.run(tests, "compiled")
    show(compiled)
    if compiled.failed != stock.failed or compiled.passed != stock.passed:
        print("\n".join(sorted(compiled.failed ^ stock.failed)))
        raise SystemExit(f"{compiled.passed} tests passed, and {stock.passed} do without the compiler.")


def show(outcome: Outcome) -> None:
    routes = outcome.routes.copy()
    compiled = routes.pop("", 0)
    print(f"{compiled:,} routes compiled, {routes.total():,} left to FastAPI:")
    for reason, number in routes.most_common(12):
        print(f"  {number:6,}  {reason[:120]}")
    print(
        f"{outcome.requests['compiled']:,} requests compiled,"
        f" {outcome.requests['left']:,} answered by FastAPI",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
