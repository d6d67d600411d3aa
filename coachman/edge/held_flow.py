"""Reading that stays paused while bytes wait that have been read already."""

from uvicorn.protocols.http.flow_control import FlowControl


class HeldFlow(FlowControl):
    """Uvicorn resumes reading after every answer, however many requests wait."""

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
