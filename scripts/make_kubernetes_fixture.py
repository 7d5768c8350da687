"""Make the fixture of Kubernetes schemas that the manifests in cluster/ are checked with.

    python scripts/make_kubernetes_fixture.py KUBERAY_CRDS KUBERNETES_SCHEMAS OUTPUT.json.xz

KUBERAY_CRDS is the folder helm-chart/kuberay-operator/crds of a KubeRay release, KUBERNETES_SCHEMAS the folder
vX.Y.0-local-strict of the package kubernetes-validate. Descriptions are left out, nothing else.
"""

import argparse
import json
import lzma
import sys
from pathlib import Path
from typing import Any

import yaml

CUSTOM_RESOURCES = {"RayCluster": "ray.io_rayclusters.yaml", "RayJob": "ray.io_rayjobs.yaml"}
BUILT_IN = {
    "NetworkPolicy": "networkpolicy-networking-v1.json",
    "PersistentVolumeClaim": "persistentvolumeclaim-v1.json",
}


def without_descriptions(node: Any) -> Any:
    """Return a copy without the descriptions, which are most of a schema; a property of that name stays."""
    if isinstance(node, dict):
        return {
            key: without_descriptions(value)
            for key, value in node.items()
            if not (key == "description" and isinstance(value, str))
        }
    return [without_descriptions(item) for item in node] if isinstance(node, list) else node


def custom_resource_schema(file: Path, version: str = "v1") -> Any:
    """Return the openAPIV3Schema of one version of a custom resource definition."""
    definition = yaml.safe_load(file.read_text(encoding="utf-8"))
    (schema,) = (v["schema"]["openAPIV3Schema"] for v in definition["spec"]["versions"] if v["name"] == version)
    return schema


def built_in_schema(folder: Path, file: str) -> Any:
    """Return the schema of one of Kubernetes' own kinds, complete with the common definitions that it needs."""
    common = json.loads((folder / "_definitions.json").read_text(encoding="utf-8"))["$defs"]
    needed: dict[str, Any] = {}

    def localise(node: Any) -> Any:
        if isinstance(node, list):
            return [localise(item) for item in node]
        if not isinstance(node, dict):
            return node
        if isinstance(node.get("$ref"), str):
            name = node["$ref"].rpartition("/")[2]
            if name not in needed:
                needed[name] = None  # before its own references, which may come back to it
                needed[name] = localise(common[name])
            return {**node, "$ref": f"#/$defs/{name}"}
        return {key: localise(value) for key, value in node.items()}

    schema = localise(json.loads((folder / file).read_text(encoding="utf-8")))
    return {key: value for key, value in schema.items() if key != "$id"} | {"$defs": needed}


def main() -> int:
    """Run the command; exit status 2 on bad input."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kuberay_crds", type=Path)
    parser.add_argument("kubernetes_schemas", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    try:
        schemas = {kind: custom_resource_schema(arguments.kuberay_crds / f) for kind, f in CUSTOM_RESOURCES.items()}
        for kind, file in BUILT_IN.items():
            schemas[kind] = built_in_schema(arguments.kubernetes_schemas, file)
    except (OSError, KeyError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    text = json.dumps(without_descriptions(schemas), sort_keys=True)
    arguments.output.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
