"""An application that makes its tables in its lifespan, as tutorials do: each worker runs that."""

from pathlib import Path

from tests.support import web
from tests.support.foreground import Foreground
from tests.support.service import running

MAIN = """
    import time
    from contextlib import asynccontextmanager
    from fastapi import FastAPI
    from sqlalchemy import Column, Integer, MetaData, Table, create_engine, event, inspect

    metadata, engine = MetaData(), create_engine("sqlite:///shop.db")
    TABLES = [Table(name, metadata, Column("id", Integer, primary_key=True)) for name in ("items",)]
    for table in TABLES:
        # Between the look whether it is there and CREATE TABLE.
        event.listen(table, "before_create", lambda *_, **__: time.sleep(0.3))

    @asynccontextmanager
    async def lifespan(app):
        metadata.create_all(engine)
        yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    def tables() -> list[str]:
        return inspect(engine).get_table_names()
"""


def test_workers_that_start_together_do_not_make_the_same_table(tmp_path: Path) -> None:
    # For the first of them the others wait, however long it waits for CPU time.
    patient = "import coachman.serving.serve\ncoachman.serving.serve.LONGEST_WAIT_SECONDS = 60.0\n"
    files = {"main.py": MAIN, "gunicorn.conf.py": patient}
    service = Foreground(tmp_path, "--workers", "3", "--boot-seconds", "240", **files)
    with running(service):
        assert web.get(service.url).json() == ["items"]

        service.write("main.py", MAIN.replace('("items",)', '("items", "orders")'))
        done = service.ask("handover")

        assert "Generation 2 serves" in done.stdout, done.stderr + service.log()
        assert web.get(service.url).json() == ["items", "orders"]
    assert "already exists" not in service.log()
    assert "failed" not in service.log(), service.log()
