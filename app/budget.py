"""Whether PostgreSQL has as many connections as the workers may ask for."""

from app.server import worker_count
from durable_database import Database

GENERATIONS = 2  # while a release takes over from another, the workers of both are connected
# The server's, less what it keeps for administrators; the role and the database can have one too.
LIMIT = """
    SELECT least(
        current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
        (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user),
        (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database())
    )
"""


async def missing_connections(database: Database, connections: int) -> str | None:
    """Returns why the connections cannot be enough, in one sentence; None when they are."""
    workers = worker_count()
    needed = workers * connections * GENERATIONS
    limit: int = await database.fetch_val(LIMIT)
    if needed <= limit:
        return None
    return (
        f"{workers} workers x {connections} connections x {GENERATIONS} during a handover are {needed}, and"
        f" the server gives {limit}; lower SHOP_DATABASE_CONNECTIONS or COACHMAN_WORKERS,"
        " or raise max_connections"
    )
