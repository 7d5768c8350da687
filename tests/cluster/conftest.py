"""The files in cluster/, read as the tools that take them read them."""

import json
import lzma
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
FIXTURES = Path(__file__).parent / "fixtures"
# The parts of an object's metadata that a person writes; the definitions leave metadata to the API server.
METADATA = {"name", "namespace", "labels", "annotations"}


def closed(schema: Any) -> Any:
    """Refuse properties that a structural schema does not name; the API server drops them without a word."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: closed(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        result["type"] = ["integer", "string"]
    named = schema.get("type") == "object" and isinstance(schema.get("properties"), dict)
    if named and not schema.get("x-kubernetes-preserve-unknown-fields"):
        result.setdefault("additionalProperties", False)
    return result


@pytest.fixture(scope="session")
def kubernetes_schemas() -> dict[str, Any]:
    text = lzma.decompress((FIXTURES / "kubernetes_schemas.json.xz").read_bytes())
    return {kind: closed(schema) for kind, schema in json.loads(text).items()}


@pytest.fixture(scope="session")
def check_kubernetes(kubernetes_schemas: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """Raise jsonschema.ValidationError where the API server or KubeRay would refuse or drop something."""

    def check(document: dict[str, Any]) -> None:
        jsonschema.Draft202012Validator(kubernetes_schemas[document["kind"]]).validate(document)
        unknown = set(document["metadata"]) - METADATA
        if unknown or not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", document["metadata"].get("name", "")):
            raise jsonschema.ValidationError(f"metadata: {document['metadata']}")

    return check


@pytest.fixture(scope="session")
def load() -> Callable[[str], dict[str, Any]]:
    """Read one YAML file of cluster/ afresh."""

    def read(name: str) -> dict[str, Any]:
        document = yaml.safe_load((CLUSTER / name).read_text())
        assert isinstance(document, dict)
        return document

    return read
