"""The Kubernetes manifests fit the published definitions, and what KubeRay's operator checks besides."""

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import jsonschema
import pytest
from packaging.version import Version

from rllib_scoreflow.versions import supported_ray

FILES = ("raycluster.yaml", "rayjob.yaml", "shared-volume.yaml", "network-policy.yaml")
RAY_FILES = FILES[:2]
CONTAINER = ("headGroupSpec", "template", "spec", "containers", 0)
WORKER = ("workerGroupSpecs", 0)

Load = Callable[[str], dict[str, Any]]
Check = Callable[[dict[str, Any]], None]
# A file, the way to an object in it, a key of that object, and what is written for it.
Misspelling = tuple[str, tuple[str | int, ...], str, str]


def cluster_spec(document: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = document["spec"]
    return spec if document["kind"] == "RayCluster" else spec["rayClusterSpec"]


def groups(document: dict[str, Any]) -> list[dict[str, Any]]:
    spec = cluster_spec(document)
    return [spec["headGroupSpec"], *spec["workerGroupSpecs"]]


def containers(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [container for group in groups(document) for container in group["template"]["spec"]["containers"]]


@pytest.mark.parametrize("file", FILES)
def test_manifest_fits_its_definition(file: str, load: Load, check_kubernetes: Check) -> None:
    check_kubernetes(load(file))


BREAKS: list[Misspelling] = [
    (file, (*start, *path), key, broken)
    for file, start in (("raycluster.yaml", ("spec",)), ("rayjob.yaml", ("spec", "rayClusterSpec")))
    for path, key, broken in (
        ((), "authOptions", "authOption"),
        (("authOptions",), "mode", "modus"),
        (("headGroupSpec",), "rayStartParams", "rayStartParam"),
        (WORKER, "minReplicas", "minReplica"),
        ((*WORKER, "template"), "spec", "specs"),
        (CONTAINER, "volumeMounts", "volumeMount"),
        ((*CONTAINER, "resources"), "limits", "limit"),
    )
] + [
    ("rayjob.yaml", ("spec",), "entrypoint", "entryPoint"),
    ("rayjob.yaml", ("spec",), "ttlSecondsAfterFinished", "ttlSeconds"),
    ("shared-volume.yaml", ("spec",), "accessModes", "accessMode"),
    ("shared-volume.yaml", ("metadata",), "name", "nam"),
    ("network-policy.yaml", ("spec", "ingress", 0), "from", "form"),
]


@pytest.mark.parametrize("misspelling", BREAKS, ids=lambda m: f"{m[0]}-{m[2]}")
def test_misspelt_key_is_refused(misspelling: Misspelling, load: Load, check_kubernetes: Check) -> None:
    file, path, key, broken = misspelling
    document = load(file)
    place: Any = reduce(operator.getitem, path, document)  # type: ignore[arg-type]
    place[broken] = place.pop(key)
    with pytest.raises(jsonschema.ValidationError):
        check_kubernetes(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("authOptions", "mode"), "tokens"),
        (("rayVersion",), 2.6),
        ((*WORKER, "resources", "rollout"), 8),
        ((*WORKER, "maxReplicas"), "many"),
    ],
)
def test_value_of_another_kind_is_refused(
    path: tuple[str | int, ...], value: object, load: Load, check_kubernetes: Check
) -> None:
    document = load("raycluster.yaml")
    place: Any = reduce(operator.getitem, path[:-1], document["spec"])  # type: ignore[arg-type]
    assert place[path[-1]] != value
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        check_kubernetes(document)


@pytest.mark.parametrize("file", RAY_FILES)
def test_token_is_asked_for_and_ray_is_the_supported_one(file: str, load: Load) -> None:
    document = load(file)
    spec = cluster_spec(document)
    assert spec["authOptions"] == {"mode": "token"}
    assert supported_ray().contains(Version(spec["rayVersion"]))
    images = {container["image"] for container in containers(document)}
    assert len(images) == 1, "head and workers need the same Ray and package"
    assert images.pop().endswith(f"-ray{spec['rayVersion']}")
    names = {variable["name"] for container in containers(document) for variable in container["env"]}
    assert not names & {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"}, "the operator sets these, and leaves them if they are there"


@pytest.mark.parametrize("file", RAY_FILES)
def test_a_cpu_group_rolls_out_and_a_gpu_group_learns(file: str, load: Load) -> None:
    rollout, learner = cluster_spec(load(file))["workerGroupSpecs"]
    assert (rollout["groupName"], learner["groupName"]) == ("rollout", "learner")
    (cpu,), (gpu,) = (group["template"]["spec"]["containers"] for group in (rollout, learner))
    assert "nvidia.com/gpu" not in cpu["resources"]["limits"]
    assert gpu["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert rollout["resources"] == dict.fromkeys(("CPU", "rollout"), cpu["resources"]["limits"]["cpu"])
    assert "resources" not in learner
    for group in (rollout, learner):
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


@pytest.mark.parametrize("file", RAY_FILES)
def test_every_pod_mounts_the_shared_volume(file: str, load: Load) -> None:
    claim = load("shared-volume.yaml")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for group in groups(load(file)):
        pod = group["template"]["spec"]
        (volume,) = pod["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert pod["containers"][0]["volumeMounts"] == [{"name": volume["name"], "mountPath": "/shared"}]
        assert pod["securityContext"]["runAsNonRoot"] is True


@pytest.mark.parametrize("file", RAY_FILES)
def test_no_pod_publishes_a_port(file: str, load: Load) -> None:
    document = load(file)
    head = cluster_spec(document)["headGroupSpec"]
    assert head.get("serviceType", "ClusterIP") == "ClusterIP"
    assert not head.get("enableIngress", False)
    for group in groups(document):
        assert "dashboard-host" not in group["rayStartParams"]
        assert not group["template"]["spec"].get("hostNetwork", False)
        assert not any(
            "hostPort" in port for c in group["template"]["spec"]["containers"] for port in c.get("ports", ())
        )
