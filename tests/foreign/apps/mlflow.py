import os

os.environ.setdefault("_MLFLOW_SERVER_FILE_STORE", "sqlite:///mlflow.db")
os.environ.setdefault("_MLFLOW_SERVER_ARTIFACT_ROOT", "./artifacts")

from mlflow.server.fastapi_app import app

__all__ = ["app"]
