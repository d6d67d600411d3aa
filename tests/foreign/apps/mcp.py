from mcp.server.fastmcp import FastMCP
from starlette.responses import PlainTextResponse

server = FastMCP("shop", stateless_http=True)


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.custom_route("/health", methods=["GET"])
async def health(request):
    return PlainTextResponse("mcp is well")


app = server.streamable_http_app()
