"""What ends a release with one sentence."""


class RefusedError(Exception):
    """One sentence for the operator: what is wrong, and what to do."""
