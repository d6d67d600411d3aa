import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio
from fastapi import FastAPI

app = gradio.mount_gradio_app(
    FastAPI(), gradio.Interface(lambda name: f"hello {name}", "text", "text"), path="/ui"
)
