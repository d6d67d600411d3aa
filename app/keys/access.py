"""Which requests need a key, and whether theirs is one: bearer keys, compared by their hashes."""

import hashlib
import hmac
import logging
import time
from collections import OrderedDict
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from app.keys.file import Key
from app.problems import Problem

FAILURES, WINDOW_SECONDS = 10, 60
MOST_CLIENTS = 1000

log = logging.getLogger(__name__)


class Keys:
    def __init__(self, keys: tuple[Key, ...], wanted_for: str = "writes") -> None:
        self._keys, self._wanted_for = keys, wanted_for
        self.failures = Failures()

    def __bool__(self) -> bool:
        return bool(self._keys)

    def are_wanted_for(self, scope: str) -> bool:
        """Whether a request needs a key. Without any key none does: the service is on loopback only."""
        return bool(self) and (
            self._wanted_for == "all" or (self._wanted_for == "writes" and scope == "write")
        )

    def find(self, token: str) -> Key | None:
        """Returns the key of a token, in the same time for every token: it is compared with all keys."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        found = [key for key in self._keys if hmac.compare_digest(key.digest, digest)]
        return found[0] if found else None


class Failures:
    """Counts failed logins per client in a sliding minute. Valid keys are never throttled."""

    def __init__(self) -> None:
        self._recent: OrderedDict[str, list[float]] = OrderedDict()

    def are_too_many(self, client: str) -> bool:
        """Counts a failed login. Returns whether the client was over the limit of its minute before it."""
        now = time.monotonic()
        recent = [at for at in self._recent.pop(client, []) if now - at < WINDOW_SECONDS]
        is_too_many = len(recent) >= FAILURES
        self._recent[client] = recent if is_too_many else [*recent, now]
        if len(self._recent) > MOST_CLIENTS:
            self._recent.popitem(last=False)
        return is_too_many


bearer = HTTPBearer(auto_error=False, description="Made by `coachman keys add NAME`", scheme_name="key")


async def require_key(
    request: Request,
    wanted: SecurityScopes,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> None:
    keys: Keys = request.state.keys
    scope = "write" if "write" in wanted.scopes else "read"
    if not keys.are_wanted_for(scope):
        return
    if credentials is None:
        raise _unauthorized("This needs a key; send it as Authorization: Bearer KEY.")
    key = keys.find(credentials.credentials)
    if key is None:
        raise _refused(request, keys)
    if scope == "write" and key.scope != "write":
        raise Problem(403, f"The key {key.name} may only read.")


def _refused(request: Request, keys: Keys) -> Problem:
    client = request.client.host if request.client else "a local socket"
    if keys.failures.are_too_many(client):
        detail = f"More than {FAILURES} unknown keys within {WINDOW_SECONDS} seconds; try again in a minute."
        return Problem(429, detail, headers={"Retry-After": str(WINDOW_SECONDS)})
    log.warning("An unknown key was refused: %s %s from %s", request.method, request.url.path, client)
    return _unauthorized("The key is unknown, or has been revoked.")


def _unauthorized(detail: str) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": "Bearer"})


MayRead = Security(require_key, scopes=["read"])
MayWrite = Security(require_key, scopes=["write"])
