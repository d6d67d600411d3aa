"""The states of a connection; edge/http.py draws what leads from one to another."""

import enum


class Stage(enum.Enum):
    HEAD = enum.auto()  # nothing of a request has come, or a part of its head
    BODY = enum.auto()  # the head has been accepted, the body is incomplete
    RESPONSE = enum.auto()  # the request is complete
    IDLE = enum.auto()  # kept alive
    CLOSING = enum.auto()  # an error response is sent or queued; further input is discarded


HEAD, BODY, RESPONSE, IDLE, CLOSING = Stage  # looked up for every request
