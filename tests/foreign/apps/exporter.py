from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from starlette_exporter import PrometheusMiddleware, handle_metrics

app = FastAPI()
app.add_middleware(PrometheusMiddleware, app_name="shop")
app.add_route("/metrics", handle_metrics)


@app.get("/", response_class=PlainTextResponse)
async def hello():
    return "hello from exporter"
