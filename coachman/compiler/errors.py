"""Why a route is left to FastAPI."""


class NotCompiledError(Exception):
    """A route uses something that the compiler does not take; the text says what, for the operator."""
