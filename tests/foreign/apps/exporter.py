from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette_exporter import PrometheusMiddleware, handle_metrics


async def hello(request):
    return PlainTextResponse("hello from exporter")


app = Starlette(routes=[Route("/", hello), Route("/metrics", handle_metrics)])
app.add_middleware(PrometheusMiddleware, app_name="shop")
