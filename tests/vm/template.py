"""A project in the form of full-stack-fastapi-template, with SQLite in the place of its PostgreSQL.

A workspace whose settings lie one folder above the backend; Alembic's folder is in the package, and a script
migrates.
"""

TEMPLATE = {
    "pyproject.toml": """
[tool.uv.workspace]
members = ["backend"]
[tool.uv]
environments = ["sys_platform == 'linux'"]
index = [{ name = "local", url = "/root/wheels", format = "flat", default = true }]
""",
    ".env": "SECRET_KEY=changethis\n",
    "compose.yml": "services: {}\n",
    "frontend/package.json": "{}\n",
    "backend/pyproject.toml": """
[project]
name = "app"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["fastapi", "pydantic-settings", "sqlalchemy", "alembic"]

[tool.coachman]
migrate = "bash scripts/prestart.sh"
""",
    "backend/alembic.ini": "[alembic]\nscript_location = app/alembic\nprepend_sys_path = .\n",
    "backend/scripts/prestart.sh": "set -e\nalembic upgrade head\npython -m app.initial_data\n",
    "backend/app/__init__.py": "",
    "backend/app/core/__init__.py": "",
    "backend/app/core/config.py": """
import os
from pydantic_settings import BaseSettings, SettingsConfigDict

class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_file="../.env", extra="ignore")
    SECRET_KEY: str
    DATABASE: str = f"sqlite:///{os.environ['STATE_DIRECTORY']}/app.db"

settings = Settings()
""",
    "backend/app/initial_data.py": """
from sqlalchemy import create_engine, text
from app.core.config import settings

with create_engine(settings.DATABASE).begin() as connection:
    if not connection.execute(text("SELECT count(*) FROM users")).scalar():
        connection.execute(text("INSERT INTO users (name) VALUES ('admin')"))
print("Initial data created")
""",
    "backend/app/main.py": """
from fastapi import FastAPI
from sqlalchemy import create_engine, text
from app.core.config import settings

app = FastAPI()
engine = create_engine(settings.DATABASE)

@app.get("/")
def users() -> list[str]:
    with engine.connect() as connection:
        return [settings.SECRET_KEY, *connection.execute(text("SELECT name FROM users")).scalars()]
""",
    "backend/app/alembic/env.py": """
from alembic import context
from sqlalchemy import create_engine
from app.core.config import settings

with create_engine(settings.DATABASE).begin() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
""",
    "backend/app/alembic/versions/0001.py": """
from alembic import op
revision, down_revision = "0001", None

def upgrade():
    op.execute("CREATE TABLE users (name TEXT)")
""",
}
