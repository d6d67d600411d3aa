"""Runs a FastAPI application under a Gunicorn master and N Uvicorn workers."""
