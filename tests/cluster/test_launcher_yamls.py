"""Ray's own checks accept the files for `ray up`, and the commands in them are ones that Ray has."""

import operator
import re
from collections.abc import Callable
from functools import reduce
from typing import Any

import jsonschema
import pytest
from packaging.version import Version
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start

from rllib_scoreflow.versions import supported_ray

FILES = ("aws.yaml", "local.yaml")
Load = Callable[[str], dict[str, Any]]


def check(config: dict[str, Any]) -> dict[str, Any]:
    """Do what `ray up` does before it reaches for any machine."""
    prepared = prepare_config(config)
    validate_config(prepared)
    return prepared


def start_options(command: str) -> dict[str, Any]:
    """Parse a `ray start ...` command, which may follow others, with Ray's own parser."""
    (_, _, words) = command.partition("ray start ")
    return start.make_context("start", words.split(), resilient_parsing=False).params


def start_command(config: dict[str, Any], kind: str) -> str:
    (command,) = (line for line in config[f"{kind}_start_ray_commands"] if "ray start" in line)
    return str(command)


@pytest.mark.parametrize("file", FILES)
def test_ray_accepts_the_file(file: str, load: Load) -> None:
    check(load(file))


@pytest.mark.parametrize(
    ("file", "path", "key", "broken"),
    [
        ("aws.yaml", (), "max_workers", "max_worker"),
        ("aws.yaml", ("docker",), "run_options", "run_option"),
        ("aws.yaml", ("available_node_types", "learner"), "max_workers", "maxWorkers"),
        ("aws.yaml", ("available_node_types", "learner"), "node_config", "node_conf"),
        ("aws.yaml", ("available_node_types", "learner", "docker"), "worker_image", "image"),
        ("aws.yaml", ("available_node_types",), "head", "master"),
        ("local.yaml", (), "file_mounts", "file_mount"),
        ("local.yaml", ("auth",), "ssh_user", "user"),
    ],
)
def test_misspelt_key_is_refused(file: str, path: tuple[str, ...], key: str, broken: str, load: Load) -> None:
    config = load(file)
    place = reduce(operator.getitem, path, config)
    place[broken] = place.pop(key)
    with pytest.raises((jsonschema.ValidationError, ValueError)):
        check(config)


@pytest.mark.parametrize("key", ["head_ip", "worker_ips"])
def test_on_premise_addresses_are_required(key: str, load: Load) -> None:
    config = load("local.yaml")
    del config["provider"][key]
    with pytest.raises(Exception, match="worker_ips"):
        check(config)


@pytest.mark.parametrize("file", FILES)
def test_head_keeps_its_dashboard_on_loopback_and_workers_join_it(file: str, load: Load) -> None:
    config = check(load(file))
    head, worker = (start_options(start_command(config, kind)) for kind in ("head", "worker"))
    assert head["head"]
    assert head["dashboard_host"] == "127.0.0.1"
    assert head["autoscaling_config"] == "~/ray_bootstrap_config.yaml"
    assert worker["address"] == f"$RAY_HEAD_IP:{head['port']}"


@pytest.mark.parametrize("file", FILES)
def test_every_machine_has_the_token_and_asks_for_it(file: str, load: Load) -> None:
    config = check(load(file))
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    for kind in ("head", "worker"):
        where = [*config.get("docker", {}).get("run_options", ()), start_command(config, kind)]
        assert any(re.search(r"\bRAY_AUTH_MODE=token\b", text) for text in where)


def test_unknown_option_of_ray_start_is_noticed(load: Load) -> None:
    command = start_command(load("aws.yaml"), "head").replace("--dashboard-host", "--dashboard-hots")
    with pytest.raises(Exception, match="dashboard-hots"):
        start_options(command)


def test_aws_has_machines_to_roll_out_and_machines_to_learn(load: Load) -> None:
    config = check(load("aws.yaml"))
    types = config["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    assert "GPU" not in types["rollout"]["resources"]
    assert types["rollout"]["resources"]["rollout"] == types["rollout"]["resources"]["CPU"]
    assert types["learner"]["resources"]["GPU"] == 1
    assert "rollout" not in types["learner"]["resources"]
    assert all(types[name]["min_workers"] == 0 < types[name]["max_workers"] for name in ("rollout", "learner"))
    assert config["max_workers"] >= types["rollout"]["max_workers"] + types["learner"]["max_workers"]


def test_images_are_those_of_the_supported_ray(load: Load) -> None:
    config = load("aws.yaml")
    learner = config["available_node_types"]["learner"]["docker"]["worker_image"]
    for image, platform in (
        (config["docker"]["head_image"], "cpu"),
        (config["docker"]["worker_image"], "cpu"),
        (learner, "gpu"),
    ):
        found = re.fullmatch(rf"rayproject/ray:([\d.]+)-py311-{platform}", image)
        assert found is not None, image
        assert supported_ray().contains(Version(found[1]))
