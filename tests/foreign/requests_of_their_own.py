"""What a user of each application would do with it, beyond the GET request that all have."""

import json
import uuid
from collections.abc import Callable
from typing import Any

from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.support import web
from tests.support.deadlines import PATIENCE_SECONDS

SECONDS = PATIENCE_SECONDS


def use_strawberry(url: str) -> None:
    """A subscription, which comes over a WebSocket."""
    address = url.replace("http://", "ws://") + "/graphql"
    with connect(address, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:

        def say(**message: Any) -> None:
            socket.send(json.dumps(message))

        say(type="connection_init")
        assert json.loads(socket.recv(SECONDS))["type"] == "connection_ack"
        say(id="1", type="subscribe", payload={"query": "subscription { count(to: 3) }"})
        messages = [json.loads(socket.recv(SECONDS)) for _ in range(4)]
    assert [one["type"] for one in messages] == ["next", "next", "next", "complete"], messages


def use_mcp(url: str) -> None:
    """The call of a tool."""
    call = {"name": "add", "arguments": {"a": 2, "b": 3}}
    answer = web.post(
        f"{url}/mcp",
        json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call},
        headers={"accept": "application/json, text/event-stream"},
        timeout=SECONDS,
    )
    assert answer.status_code == 200, answer.text
    assert '"text":"5"' in answer.text, answer.text


def use_mlflow(url: str) -> None:
    """A new experiment."""
    answer = web.post(
        f"{url}/api/2.0/mlflow/experiments/create", json={"name": str(uuid.uuid4())}, timeout=SECONDS
    )
    assert answer.json()["experiment_id"], answer.text


def use_litellm(url: str) -> None:
    """A chat with a model, which needs a key."""
    question = {"model": "mock", "messages": [{"role": "user", "content": "hello"}]}
    key = {"authorization": "Bearer sk-of-the-test"}
    answer = web.post(f"{url}/v1/chat/completions", json=question, headers=key, timeout=SECONDS)
    assert answer.json()["choices"][0]["message"]["content"] == "hello from litellm", answer.text


def use_typical(url: str) -> None:
    """A large upload, and the metrics of prometheus-fastapi-instrumentator."""
    answer = web.post(f"{url}/upload", files={"file": b"x" * 3_000_000}, timeout=SECONDS)
    assert answer.status_code == 200, answer.text
    _require_counted(url, "/items", 'http_requests_total{handler="/items",method="GET",status="2xx"}')


def use_exporter(url: str) -> None:
    """The metrics of starlette_exporter."""
    counter = 'starlette_requests_total{app_name="shop",method="GET",path="/",status_code="200"}'
    _require_counted(url, "/", counter)


def _require_counted(url: str, path: str, counter: str) -> None:
    """That the application's own /metrics shows requests to all workers, and nothing of Coachman's."""
    before = _value(url, counter)
    for _ in range(20):  # each over a connection of its own
        assert web.get(url + path, timeout=SECONDS).status_code == 200
    assert _value(url, counter) >= before + 20


def _value(url: str, counter: str) -> float:
    text = web.get(f"{url}/metrics", timeout=SECONDS).text
    assert "coachman_" not in text
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(counter))


USES: dict[str, Callable[[str], None]] = {
    "strawberry": use_strawberry,
    "mcp": use_mcp,
    "mlflow": use_mlflow,
    "litellm": use_litellm,
    "typical": use_typical,
    "exporter": use_exporter,
}
