"""The OpenAPI document: complete, and true."""

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.python import asgi
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.inventory.preconditions import etag
from app.main import create_app
from app.settings import Settings

pytestmark = pytest.mark.sqlite

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    loaded: dict[str, Any] = client.get("/openapi.json").json()
    return loaded


def test_operations_have_readable_ids_summaries_and_tags(document: dict[str, Any]) -> None:
    found = operations(document)

    assert sorted(operation["operationId"] for _, operation in found) == [
        "book_movement",
        "change_item",
        "create_item",
        "delete_item",
        "get_item",
        "get_label",
        "list_items",
        "list_movements",
    ]
    assert all(operation["summary"] and operation["tags"] for _, operation in found)


def test_every_error_is_described_as_a_problem_with_an_example(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        errors = {code: answer for code, answer in operation["responses"].items() if code >= "400"}
        assert {"422", "503"} <= errors.keys(), name
        for code, answer in errors.items():
            assert list(answer["content"]) == ["application/problem+json"], (name, code)
            example = answer["content"]["application/problem+json"]["example"]
            assert example["status"] == int(code)
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_every_body_and_answer_has_an_example(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    for name in ("ItemCreate", "ItemUpdate", "MovementCreate", "Item", "Movement"):
        assert schemas[name]["examples"], name


def test_examples_of_bodies_are_accepted(client: TestClient, document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    def example(name: str) -> Any:
        return schemas[name]["examples"][0]

    item = client.post("/items", json=example("ItemCreate"))
    assert item.status_code == 201
    url = item.headers["location"]
    assert client.post(f"{url}/movements", json=example("MovementCreate")).status_code == 201
    changed = client.patch(url, json=example("ItemUpdate"), headers={"If-Match": etag(2)})
    assert changed.status_code == 200
    assert changed.json().keys() == example("Item").keys()


@pytest.fixture(scope="module")
def served(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    path = tmp_path_factory.mktemp("openapi") / "coachman.db"
    shutil.copyfile(migrated_file, path)
    yield create_app(Settings(database_url=f"sqlite:///{path}"))
    asgi.shutdown_lifespans()


schema = schemathesis.openapi.from_dict(create_app(Settings()).openapi())


bounded = settings(
    max_examples=30,
    derandomize=True,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
skus = (f"T-{n}" for n in count())


@schema.parametrize()
@bounded
def test_answers_are_as_the_document_says(case: schemathesis.Case, served: FastAPI) -> None:
    response = case.call(app=served)

    case.validate_response(response, checks=CHECKS)


@schema.include(path_regex="item_id").parametrize()
@bounded
def test_answers_about_an_item_that_exists_are_too(case: schemathesis.Case, served: FastAPI) -> None:
    create = schema["/items"]["POST"].Case(body={"sku": next(skus), "name": "Tea"})
    case.path_parameters["item_id"] = create.call(app=served).json()["id"]

    response = case.call(app=served, headers={"If-Match": "*"})

    case.validate_response(response, checks=CHECKS)


@pytest.fixture(scope="module")
def keyed(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """One that knows a key, which nobody here has, and wants it for everything."""
    folder = tmp_path_factory.mktemp("keyed")
    shutil.copyfile(migrated_file, folder / "coachman.db")
    (folder / "keys").write_text(f"shop write {'0' * 64} 2026-01-01\n")
    yield create_app(
        Settings(database_url=f"sqlite:///{folder}/coachman.db", keys_file=folder / "keys", keys_for="all")
    )
    asgi.shutdown_lifespans()


@schema.parametrize()
@bounded
def test_nothing_is_answered_without_a_key_where_all_needs_one(
    case: schemathesis.Case, keyed: FastAPI
) -> None:
    response = case.call(app=keyed)

    # What cannot be read at all is refused before anybody asks for a key.
    assert response.status_code in (400, 401, 404, 405, 413, 422, 429), response.text
    assert response.status_code != 404 or "nothing at this address" in response.text
    case.validate_response(response, checks=[not_a_server_error, status_code_conformance])
