"""FastAPI without its documentation page."""

from fastapi import FastAPI

app = FastAPI(docs_url=None)
