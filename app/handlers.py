"""Turns every exception into a problem document."""

import logging
import sqlite3
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.problems import FieldError, InvalidField, Problem, title
from durable_database import PoolTimeout, TransactionTimeout
from durable_database.errors import DatabaseUnavailable, driver_error, is_about_the_disk, is_locked

log = logging.getLogger("uvicorn.error")  # the server's own log

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
MAX_ERRORS = 20
MAX_FIELD_CHARACTERS = 100
SENTENCES = {
    404: "There is nothing at this address.",
    405: "This address does not answer to this method; the Allow header names those it answers to.",
}
MESSAGES = {
    "missing": "it is required",
    "extra_forbidden": "there is no such field",
    "model_attributes_type": "it must be a JSON object",
    "string_unicode": "it must not contain lone surrogates",
}


def add_handlers(app: FastAPI) -> None:
    app.add_exception_handler(Problem, handle_problem)
    app.add_exception_handler(HTTPException, handle_http_exception)
    app.add_exception_handler(RequestValidationError, handle_invalid_request)
    app.add_exception_handler(sqlite3.OperationalError, handle_database_error)
    app.add_exception_handler(DBAPIError, handle_database_error)
    app.add_exception_handler(PoolTimeout, handle_busy)
    app.add_exception_handler(TransactionTimeout, handle_busy)
    app.add_exception_handler(DatabaseUnavailable, handle_unavailable)
    app.add_exception_handler(Exception, handle_crash)


async def handle_problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return error.response()


async def handle_http_exception(request: Request, error: Exception) -> JSONResponse:
    """Answers for errors that Starlette and FastAPI raise themselves."""
    assert isinstance(error, HTTPException)
    detail = SENTENCES.get(error.status_code) or error.detail
    if error.status_code == 400 and error.__cause__:
        detail = _why_unreadable(error.__cause__)
    if detail == title(error.status_code):
        detail = f"{detail}."
    headers = dict(error.headers or {})
    if error.status_code == 405 and (methods := _methods_of(request)):
        headers["Allow"] = methods
    return Problem(error.status_code, detail, headers=headers).response()


def _methods_of(request: Request) -> str:
    # Starlette names only the methods of the first route that has this path.
    def answers_to(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return ", ".join(method for method in METHODS if answers_to(method))


def _why_unreadable(cause: BaseException) -> str:
    if isinstance(cause, RecursionError):
        return "The JSON of the body is nested too deeply."
    if isinstance(cause, UnicodeDecodeError):
        return "The body is not valid UTF-8."
    if isinstance(cause, ValueError) and "digits" in str(cause):
        return "The body contains an integer with too many digits."
    return "The body cannot be read as JSON."


async def handle_invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [_field_error(details) for details in error.errors()]
    problem = InvalidField(errors[0].field, errors[0].message, errors)
    problem.errors = errors[:MAX_ERRORS]
    return problem.response()


def _field_error(details: dict[str, Any]) -> FieldError:
    """Returns the field and what is wrong with it, never its value: it may be huge, or not encodable."""
    place, *path = details["loc"]
    if details["type"] == "json_invalid":
        return FieldError(field="body", message=f"{details['ctx']['error']} at character {path[0]}")
    message = MESSAGES.get(details["type"]) or details["msg"][:1].lower() + details["msg"][1:]
    field = ".".join(str(part) for part in path) or str(place)
    if place == "header":
        field = field.title()
    return FieldError(field=_encodable(field), message=_encodable(message))


def _encodable(text: str) -> str:
    """Returns `text`, cut, with everything escaped that JSON or a terminal cannot carry."""
    if len(text) > MAX_FIELD_CHARACTERS:
        text = f"{text[:MAX_FIELD_CHARACTERS]}..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


async def handle_database_error(request: Request, error: Exception) -> JSONResponse:
    """The driver's own exceptions, and those of SQLAlchemy around them."""
    if is_locked(error):
        return await handle_busy(request, error)
    if not is_about_the_disk(error):
        raise error
    log.error("The database refused a request: %s", driver_error(error))
    sentence = "The database cannot do this just now, which is no fault of the request; try again later."
    return Problem(503, sentence, headers={"Retry-After": "30"}).response()


async def handle_busy(request: Request, error: Exception) -> JSONResponse:
    sentence = "The database is busy; try again in a second."
    return Problem(503, sentence, headers={"Retry-After": "1"}).response()


async def handle_unavailable(request: Request, error: Exception) -> JSONResponse:
    sentence = "The database cannot be reached just now; try again in a few seconds."
    return Problem(503, sentence, headers={"Retry-After": "5"}).response()


async def handle_crash(request: Request, error: Exception) -> JSONResponse:
    """Answers 500 for a fault of ours: the server logs the traceback, the client gets none."""
    return Problem(500, "The server failed on this request; its log says why.").response()
