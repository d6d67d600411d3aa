"""Whatever a client sends: a problem document of the 4xx family, never a 5xx."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CreateItem = Callable[..., dict[str, Any]]
JSON = {"Content-Type": "application/json"}
GOOD = {"sku": "T-1", "name": "Tea"}


def assert_problem(response: Any, status: int, field: str | None = None) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["type"] == "about:blank"
    assert problem["detail"].endswith(".")
    assert "Traceback" not in response.text
    if field is not None:
        assert field in [error["field"] for error in problem["errors"]]
        assert problem["detail"].startswith("Invalid ")
    return problem


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"sku": ""}, "sku"),
        ({"sku": "  "}, "sku"),
        ({"sku": "a b"}, "sku"),
        ({"sku": "é"}, "sku"),
        ({"sku": "x" * 65}, "sku"),
        ({"sku": 7}, "sku"),
        ({"sku": None}, "sku"),
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a\x9fb"}, "name"),
        ({"name": ["x"]}, "name"),
        ({"description": "x" * 2001}, "description"),
        ({"description": 1.5}, "description"),
        ({"unit_price": -1}, "unit_price"),
        ({"unit_price": 10**12 + 1}, "unit_price"),
        ({"unit_price": 2**64}, "unit_price"),
        ({"unit_price": -(2**64)}, "unit_price"),
        ({"unit_price": 1.0}, "unit_price"),
        ({"unit_price": "1"}, "unit_price"),
        ({"unit_price": True}, "unit_price"),
        ({"quantity": 3}, "quantity"),
        ({"x\0y": 3}, "x\\x00y"),
        ({"\u202e": 3}, "\\u202e"),
    ],
)
def test_invalid_field_of_an_item_is_named(client: TestClient, change: dict[str, Any], field: str) -> None:
    assert_problem(client.post("/items", json=GOOD | change), 422, field)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"delta": 0}, "delta"),
        ({"delta": 10**9 + 1}, "delta"),
        ({"delta": -(10**9) - 1}, "delta"),
        ({"delta": 10**400}, "delta"),
        ({"delta": "1"}, "delta"),
        ({"delta": 1.0}, "delta"),
        ({"delta": True}, "delta"),
        ({"reason": "gift"}, "reason"),
        ({"reason": None}, "reason"),
        ({"note": "x" * 501}, "note"),
        ({"quantity": 3}, "quantity"),
    ],
)
def test_invalid_field_of_a_movement_is_named(
    client: TestClient, create_item: CreateItem, change: dict[str, Any], field: str
) -> None:
    url = f"/items/{create_item()['id']}/movements"

    assert_problem(client.post(url, json={"delta": 1, "reason": "receipt"} | change), 422, field)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 422, "body"),
        (b"null", 422, "body"),
        (b"[]", 422, "body"),
        (b'"x"', 422, "body"),
        (b"{", 422, "body"),
        (b"nonsense", 422, "body"),
        (b"{}", 422, "sku"),
        (b"\xff", 400, None),
        (b'{"sku":"\xff"}', 400, None),
        (b'{"sku":"T","name":"T","unit_price":NaN}', 422, "unit_price"),
        (b'{"sku":"T","name":"T","unit_price":-Infinity}', 422, "unit_price"),
        (b'{"sku":"T","name":"T","unit_price":1e999}', 422, "unit_price"),
        (b'{"sku":"T","name":NaN}', 422, "name"),
        (b'{"sku":"T","name":"\\ud800"}', 422, "name"),
        (b'{"sku":"T","name":"T","\\ud800":1}', 422, None),
        (b'{"sku":"T","name":"T","unit_price":' + b"9" * 5000 + b"}", 400, None),
        (b'{"sku":"T","name":' + b"[" * 100 + b"]" * 100 + b"}", 422, "name"),
        (b"[" * 20_000 + b"]" * 20_000, 400, None),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400, None),
        (json.dumps({f"field{n}": n for n in range(1000)}).encode(), 422, "sku"),
    ],
)
def test_unreadable_body_is_refused(client: TestClient, body: bytes, status: int, field: str | None) -> None:
    problem = assert_problem(client.post("/items", content=body, headers=JSON), status, field)

    assert len(json.dumps(problem)) < 5000


def test_detail_counts_the_other_invalid_fields(client: TestClient) -> None:
    def detail(**fields: Any) -> str:
        return str(assert_problem(client.post("/items", json=fields), 422)["detail"])

    assert detail(sku="T") == "Invalid name: it is required."
    assert detail(sku="") == (
        "Invalid sku: string should have at least 1 character; 1 more field is invalid."
    )
    assert detail(sku="", a=1, b=1).endswith("; 3 more fields are invalid.")


def test_long_field_name_is_cut_in_the_answer(client: TestClient) -> None:
    response = client.post("/items", json=GOOD | {"x" * 10_000: 1})

    assert_problem(response, 422, "x" * 100 + "...")


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "json", ";", "application/xml"]
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_other_content_type_is_refused(
    client: TestClient, create_item: CreateItem, method: str, content_type: str | None
) -> None:
    url = "/items" if method == "POST" else f"/items/{create_item()['id']}"
    headers = {"If-Match": "*"} | ({"Content-Type": content_type} if content_type else {})

    response = client.request(method, url, content=json.dumps(GOOD), headers=headers)

    assert_problem(response, 415)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/merge-patch+json"])
def test_json_by_another_name_is_taken(client: TestClient, content_type: str) -> None:
    response = client.post("/items", content=json.dumps(GOOD), headers={"Content-Type": content_type})

    assert response.status_code == 201


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_too_large_body_is_refused(client: TestClient, declared: bool) -> None:
    def chunks() -> Iterator[bytes]:
        yield from [b" " * 16_384] * 5

    content = b"".join(chunks()) if declared else chunks()

    problem = assert_problem(client.post("/items", content=content, headers=JSON), 413)

    assert problem["detail"] == "The body is larger than 65536 bytes."


def test_absurd_content_length_is_refused(client: TestClient) -> None:
    headers = JSON | {"Content-Length": "9" * 5000}

    assert_problem(client.post("/items", content=b"{}", headers=headers), 413)


@pytest.mark.parametrize(
    "item_id", ["abc", "0", "-1", "1.0", "+1", "1_0", "%201", "%ff", "%00", "٣", "9" * 5000, str(2**63)]
)
def test_item_id_that_is_no_id_is_named(client: TestClient, item_id: str) -> None:
    assert_problem(client.get(f"/items/{item_id}"), 422, "item_id")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("limit=1.0", "limit"),
        ("limit=", "limit"),
        ("q=%00", "q"),
        ("q=" + "x" * 201, "q"),
    ],
)
def test_bad_query_is_named(client: TestClient, query: str, field: str) -> None:
    assert_problem(client.get(f"/items?{query}"), 422, field)


def test_broken_utf8_in_a_query_finds_nothing(client: TestClient) -> None:
    response = client.get("/items?q=%ff%ed%a0%80")

    assert (response.status_code, response.json()["items"]) == (200, [])


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/nothing", 404, None),
        ("GET", "/items/", 404, None),
        ("GET", "/nothing/here", 404, None),
        ("PUT", "/items", 405, "GET, POST"),
        ("POST", "/items/1", 405, "GET, PATCH, DELETE"),
        ("DELETE", "/items/1/movements", 405, "GET, POST"),
        ("POST", "/docs/assets/favicon.png", 405, None),
        ("GET", "/docs/assets/../../../secret", 404, None),
    ],
)
def test_unknown_address_or_method_is_a_problem(
    client: TestClient, method: str, path: str, status: int, allow: str | None
) -> None:
    response = client.request(method, path)

    assert_problem(response, status)
    if allow:
        assert response.headers["allow"] == allow


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
fields = st.sampled_from(
    ["sku", "name", "description", "unit_price", "delta", "reason", "note", "quantity", "id"]
)
bodies = st.dictionaries(fields | st.text(max_size=5), json_values, max_size=6) | json_values
header_values = st.text(
    st.characters(min_codepoint=1, max_codepoint=255, exclude_characters="\r\n"), max_size=40
)
bounded = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@bounded
@given(body=bodies, endpoint=st.sampled_from(["/items", "/items/1", "/items/1/movements"]))
def test_no_json_makes_the_server_fail(client: TestClient, body: Any, endpoint: str) -> None:
    method = "PATCH" if endpoint == "/items/1" else "POST"
    # Surrogates and NaN travel as JSON escapes.
    content = json.dumps(body)

    response = client.request(method, endpoint, content=content, headers=JSON | {"If-Match": "*"})

    assert response.status_code < 500


@bounded
@given(body=st.binary(max_size=60))
def test_no_bytes_make_the_server_fail(client: TestClient, body: bytes) -> None:
    assert client.post("/items", content=body, headers=JSON).status_code < 500


@bounded
@given(value=header_values, name=st.sampled_from(["If-Match", "Idempotency-Key", "Content-Type", "Accept"]))
def test_no_header_makes_the_server_fail(client: TestClient, value: str, name: str) -> None:
    headers = [(name.encode(), value.encode("latin-1"))]

    for method, path in (("PATCH", "/items/1"), ("POST", "/items/1/movements"), ("DELETE", "/items/1")):
        response = client.request(method, path, content=b'{"delta": 1}', headers=headers)
        assert response.status_code < 500, (method, path)
