"""ETags and If-Match (RFC 9110, section 13.1.1)."""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from app.problems import Problem

TAG = re.compile(r'((?:W/)?"[!#-~\x80-\xff]*")[ \t]*(?:,[ \t,]*|$)')
VERSION = re.compile(r'"([1-9][0-9]{0,18})"')


def etag(version: int) -> str:
    return f'"{version}"'


@dataclass(frozen=True)
class IfMatch:
    """The versions that a client accepts; None stands for any."""

    versions: frozenset[int] | None

    def matches(self, version: int) -> bool:
        return self.versions is None or version in self.versions


def parse(header: str) -> IfMatch:
    if header.strip(" \t") == "*":
        return IfMatch(None)
    tags = _split(header.strip(" \t,"))
    # A weak tag (W/...) never matches here, and one of another form is not ours: both are just stale.
    return IfMatch(frozenset(int(match[1]) for tag in tags if (match := VERSION.fullmatch(tag))))


def _split(header: str) -> list[str]:
    tags, position = [], 0
    while match := TAG.match(header, position):
        tags.append(match[1])
        position = match.end()
    if not tags or position < len(header):
        raise Problem(400, "The If-Match header is malformed; it takes * or ETags in double quotes.")
    return tags


async def optional_if_match(
    request: Request,
    if_match: Annotated[str | None, Header(description="ETags of the versions to act on, or *")] = None,
) -> IfMatch | None:
    if if_match is None:
        return None
    # The header may be sent in several lines, which count as one.
    return parse(", ".join(request.headers.getlist("if-match")))


OptionalIfMatch = Annotated[IfMatch | None, Depends(optional_if_match)]


async def required_if_match(if_match: OptionalIfMatch) -> IfMatch:
    if if_match is None:
        raise Problem(428, "Send If-Match with the ETag of the item you read.")
    return if_match


RequiredIfMatch = Annotated[IfMatch, Depends(required_if_match)]
