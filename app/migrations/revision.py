"""Which schema this release needs, and which others it can work with."""

REVISION = "0001"


def serves(found: str | None) -> bool:
    """Whether this release works with the schema `found`.

    While one release takes over from another, and after a step back, the older one meets the schema of the
    newer. It gets on with it as long as the newer only added to it: then the first two digits stay.
    """
    return found is not None and found[:2] == REVISION[:2] and found >= REVISION


def is_newer(found: str | None) -> bool:
    return found is not None and found > REVISION
