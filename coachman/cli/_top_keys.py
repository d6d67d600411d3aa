"""What the keys of `coachman top` ask for. Nothing is done before a question has been answered."""

import signal
from typing import NamedTuple

from coachman.cli._top_figures import Reading
from coachman.settings import MOST_WORKERS
from coachman.state.scoreboard import Row
from coachman.state.states import FIRST_PROCESS, FIRST_PROCESS_SENTENCE, Phase, State
from coachman.state.view import View

HELP = "k kill  + - scale  h hand over  q quit"
ENTER, ESCAPE, ERASE = ("\r", "\n"), "\x1b", ("\x7f", "\b")


class Order(NamedTuple):
    """A signal to send, once the operator has agreed."""

    pid: int
    signum: signal.Signals
    done: str  # what is said when it has been sent


class Dialog:
    """The keys that have been pressed since the last order."""

    def __init__(self) -> None:
        self.said = ""  # shown until the next key
        self._question = ""
        self._order: Order | None = None  # sent if the answer is y
        self._number: str | None = None  # of a slot, while it is being typed

    @property
    def line(self) -> str:
        """The last line of the screen."""
        if self._number is not None:
            return f"{self._question}{self._number}_  (Enter kills it, Esc goes back)"
        return f"{self._question} y/n" if self._question else self.said or HELP

    def press(self, key: str, now: Reading) -> Order | None:
        """Takes one key. Returns the order that has been agreed to."""
        self.said = ""
        view = now.speaker
        if self._number is not None:
            return self._type(key, view)
        if self._question:
            order = self._order if key in ("y", "Y") else None
            self._forget()
            return order
        if key in ("k", "+", "-", "h"):
            self.said = _refusal(key, view)
            if not self.said:
                self._ask(key, view)
        return None

    def _ask(self, key: str, view: View) -> None:
        service = view.service
        if key == "k":
            slots = ", ".join(str(number) for number in _serving(view))
            self._question, self._number = f"Kill the worker in slot ({slots}): ", ""
        elif key == "h":
            self._question = "Hand over to the release that is there now?"
            self._order = Order(service.pid, signal.SIGUSR2, f"Master {service.pid} was asked to hand over")
        else:
            workers = service.workers + (1 if key == "+" else -1)
            signum = signal.SIGTTIN if key == "+" else signal.SIGTTOU
            self._question = f"Scale from {service.workers} to {workers}?"
            self._order = Order(service.pid, signum, f"Master {service.pid} was asked for {workers}")

    def _type(self, key: str, view: View) -> Order | None:
        """A slot's number, digit by digit."""
        assert self._number is not None
        if key in ENTER:
            number, serving = self._number, _serving(view)
            self._forget()
            if number.isdecimal() and int(number) in serving:
                pid = serving[int(number)].pid
                return Order(pid, signal.SIGKILL, f"The worker in slot {number} (pid {pid}) was killed")
            self.said = f"No worker serves in slot {number}. Nothing was killed." if number else ""
        elif key == ESCAPE:
            self._forget()
        elif key in ERASE:
            self._number = self._number[:-1]
        elif key.isdecimal():
            self._number = (self._number + key)[:3]
        return None

    def _forget(self) -> None:
        self._question, self._order, self._number = "", None, None


def _serving(view: View) -> dict[int, Row]:
    return {number: row for number, row in view.rows if row.state == State.READY}


def _refusal(key: str, view: View) -> str:
    """Why a key cannot do anything now, in one sentence, or nothing."""
    service = view.service
    if any(row.pid == service.pid for _, row in view.rows):
        return f"Process {service.pid} serves without a master, which would do it."
    if key == "k":
        return "" if _serving(view) else "No worker serves."
    if service.handover in (Phase.UNDER_WAY, Phase.REFUSING):
        return "A handover is under way."
    if key == "h":
        return _refusal_of_handover(view)
    if key == "-" and service.workers <= 1:
        return "One worker is the least; Ctrl-C in its terminal, or systemctl stop, ends a service."
    return "" if key == "-" or service.workers < MOST_WORKERS else f"{MOST_WORKERS} workers are the most."


def _refusal_of_handover(view: View) -> str:
    if view.service.pid == FIRST_PROCESS:
        return f"{FIRST_PROCESS_SENTENCE.capitalize()}."
    if not view.was_ready:
        return f"Generation {view.service.generation} has not been ready itself yet."
    return ""
