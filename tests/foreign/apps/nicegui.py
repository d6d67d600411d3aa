from fastapi import FastAPI
from nicegui import ui

app = FastAPI()


@ui.page("/")
def page():
    ui.label("hello from nicegui")


ui.run_with(app, storage_secret="not a secret")
