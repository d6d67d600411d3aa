"""Flow control of reading while received bytes wait to be parsed."""

from uvicorn.protocols.http.flow_control import FlowControl


class HoldableFlowControl(FlowControl):
    """Keeps reading paused while received requests wait.

    Uvicorn resumes reading after every response, however many pipelined requests are queued.
    """

    is_held = False

    def hold(self) -> None:
        self.is_held = True
        self.pause_reading()

    def release(self) -> None:
        self.is_held = False
        self.resume_reading()

    def resume_reading(self) -> None:
        if not self.is_held:
            super().resume_reading()
