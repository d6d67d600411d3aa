"""The steps of a release and of a rollback. Whatever fails, `current` is put back."""

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coachman.releases import changes, environment, hints, journal, private, source
from coachman.releases.command import RefusedError
from coachman.releases.disk import commit, prune, require_space, switch, sync
from coachman.releases.layout import Layout, Release
from coachman.releases.origin import Origin, local
from coachman.releases.private import LeftBehind
from coachman.releases.progress import Progress, Report
from coachman.releases.systemd_service import Service

DEFAULT_PROBE = "/"  # what is asked once a release serves, where COACHMAN_PROBE names nothing


def release(
    layout: Layout, origin: Origin, report: Report, *, wheels: Path | None, keep: int, restart: bool
) -> Release:
    """Makes a release of `origin` and moves the service to it. Raises RefusedError."""
    os.umask(0o022)  # the service's user reads what root writes
    layout.releases.mkdir(exist_ok=True)
    with journal.locked(layout.lock, "release"):
        _finish_what_was_interrupted(layout, report)
        candidate, progress = layout.release(_new_id(layout)), Progress(report)
        with _recorded(layout, "release", candidate, progress):
            require_space(layout)
            report(f"Release {candidate.id} of {origin}")
            _build(layout, candidate, origin, progress, wheels)
            try:
                with _explained(layout, candidate):
                    _check(layout, candidate, progress)
                    with progress.step("migrations"):
                        report(Service(layout.instance).run_as_service(candidate, "migrate"))
                    _move(layout, candidate, progress, restart=restart)
            except BaseException:
                candidate.record.unlink(missing_ok=True)  # nobody is to roll back to it
                raise
        for gone in prune(layout, keep):
            report(f"Removed release {gone.id}")
    return candidate


def rollback(layout: Layout, name: str | None, report: Report, *, restart: bool) -> Release:
    """Moves the service back to a release that is still there. The database stays as it is."""
    with journal.locked(layout.lock, "rollback"):
        _finish_what_was_interrupted(layout, report)
        target = layout.release(name) if name else _the_one_before(layout)
        if not target.is_complete:
            raise RefusedError(f"There is no release {target.id}: `coachman releases` lists them.")
        progress = Progress(report)
        with _recorded(layout, "rollback", target, progress):
            report(f"Back to release {target.id}")
            with _explained(layout, target):
                _check(layout, target, progress)
                _move(layout, target, progress, restart=restart)
    return target


def _finish_what_was_interrupted(layout: Layout, report: Report) -> None:
    """Completes or undoes a release that was killed before it knew whether `current` serves."""
    if not layout.fallback.is_symlink():
        return
    unproven, before = layout.serving(), layout.release(layout.fallback.readlink().name)
    report(f"Release {unproven.id if unproven else '?'} was interrupted; asking the service for it again")
    try:
        Service(layout.instance).reload()
        commit(layout, unproven)
    except RefusedError:
        commit(layout, before)
        if unproven is not None:
            unproven.record.unlink(missing_ok=True)  # nobody is to roll back to it
        report(f"It does not serve: release {before.id} is current again")


def _build(
    layout: Layout, candidate: Release, origin: Origin, progress: Progress, wheels: Path | None
) -> None:
    report = progress.report
    try:
        with local(origin, layout.releases) as found:
            with progress.step("copy"):
                left = source.copy(found.path, candidate.folder, origin.package)
            report(f"Copied{f', commit {found.commit}' if found.commit else ''}")
            if left is not None:
                _report_left_behind(layout, left, origin, report)
            with progress.step("packages"):
                built = environment.build(
                    layout, candidate, found.path, wheels=wheels, package=origin.package
                )
        report(
            "Installed its packages from {installed_from} by {installed_by}, Python {python}".format(**built)
        )
        report(built["coachman"])
        report(changes.of_packages(layout.serving(), candidate))
        source.protect(candidate.folder, Service(layout.instance).owner())
    except BaseException:
        shutil.rmtree(candidate.folder, ignore_errors=True)
        raise
    facts = {
        "made_at": journal.now(),
        "by": journal.who(),
        "source": str(origin),
        "commit": found.commit,
        **built,
        "databases": left.databases if left else [],
    }
    with progress.step("sync"):
        sync()  # the record says that the release is complete: what it speaks of is on the disk before it
        candidate.record.write_text(json.dumps(facts) + "\n", encoding="utf-8")
        sync()
    report("Synced it to disk")


def _report_left_behind(layout: Layout, left: LeftBehind, origin: Origin, report: Report) -> None:
    report(left.sentence())
    found_before = {name for one in layout.complete() for name in one.facts().get("databases", [])}
    if new := [name for name in left.databases if name not in found_before]:
        is_folder = not origin.is_url and Path(origin.place).is_dir()
        report(private.about_databases(new, Path(origin.place) if is_folder else None, layout.instance))


def _check(layout: Layout, candidate: Release, progress: Progress) -> None:
    service = Service(layout.instance)
    with progress.step("check"):
        progress.report(service.run_as_service(candidate, "check"))
        if service.is_active():
            progress.report(_changed_settings(service, layout.serving(), candidate))


def _changed_settings(service: Service, before: Release | None, candidate: Release) -> str:
    names = {name for file in service.environment_files() for name in changes.names_in(file)}
    files = changes.of_project_file(before, candidate) if before else []
    return changes.of_settings(
        service.running_environment(), service.next_environment(candidate), names, files
    )


def _move(layout: Layout, target: Release, progress: Progress, *, restart: bool) -> None:
    service = Service(layout.instance)
    before, was_active = layout.serving(), service.is_active()
    generation = service.generation() if was_active and not restart else 0
    with _not_interrupted(), progress.step("handover" if was_active and not restart else "start"):
        switch(layout, target)
        progress.report("Switched; waiting for the new generation")
        try:
            if was_active and not restart:
                service.reload()
            else:
                service.restart()
            answer = service.confirm(above=generation)
        except RefusedError:
            _put_back(layout, before, generation, was_active=was_active, restart=restart)
            raise
        commit(layout, target)
    progress.report(
        f"Release {target.id} serves: generation {answer['generation']}, {answer['workers']} workers ready"
    )
    _show_that_it_serves(service, target, progress)


def _show_that_it_serves(service: Service, target: Release, progress: Progress) -> None:
    """Asks as a client does. The workers have answered the probe themselves before they were ready."""
    variables = service.running_environment()
    probe = changes.setting(target, variables, "probe") or DEFAULT_PROBE
    progress.report(service.ask(probe, tls=bool(changes.setting(target, variables, "certfile"))))
    progress.report(progress.summary())


def _put_back(
    layout: Layout, before: Release | None, generation: int, *, was_active: bool, restart: bool
) -> None:
    service = Service(layout.instance)
    commit(layout, before)
    if not was_active:
        service.stop()  # it would try again and again
    elif restart:
        service.restart()
    elif service.generation() > generation:  # it was accepted, and does not serve
        service.reload()


@contextlib.contextmanager
def _not_interrupted() -> Iterator[None]:
    """Ignores stop signals between the switch and its outcome: systemd would go on with the reload."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = [signal.signal(signum, signal.SIG_IGN) for signum in signals]
    try:
        yield
    finally:
        for signum, handler in zip(signals, handlers, strict=True):
            signal.signal(signum, handler)


@contextlib.contextmanager
def _explained(layout: Layout, target: Release) -> Iterator[None]:
    try:
        yield
    except RefusedError as error:
        raise RefusedError(hints.explained(str(error), target, layout.instance)) from None


@contextlib.contextmanager
def _recorded(layout: Layout, what: str, target: Release, progress: Progress) -> Iterator[None]:
    before = layout.serving()
    facts: dict[str, Any] = {"did": what, "release": target.id, "before": before.id if before else None}
    facts["seconds"] = progress.seconds  # which each step adds to

    def record(**outcome: str) -> None:
        try:
            journal.record(layout.audit, **facts, **outcome)
        except OSError as error:  # on a full disk one can still go back
            progress.report(f"{layout.audit} cannot be written: {(error.strerror or str(error)).lower()}")

    try:
        yield
    except RefusedError as error:
        record(outcome="refused", reason=str(error))
        raise
    except BaseException as error:
        record(outcome="interrupted", reason=repr(error))
        raise
    record(outcome="serves")


def _new_id(layout: Layout) -> str:
    while True:
        name = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        if not layout.release(name).folder.exists():
            return name
        time.sleep(0.1)  # its second is taken


def _the_one_before(layout: Layout) -> Release:
    serving = layout.serving()
    older = [one for one in layout.complete() if serving is None or one.id < serving.id]
    if not older:
        raise RefusedError("There is no release before this one: `coachman releases` lists what there is.")
    return older[-1]
