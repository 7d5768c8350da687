"""What the files in cluster/ and their README tell to type exists: commands, options, files, versions."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml
from packaging.version import Version
from ray.dashboard.modules.job.cli import submit
from ray.runtime_env import RuntimeEnv

from rllib_scoreflow.experiments.checks import algorithms
from rllib_scoreflow.experiments.checks import config as config_check
from rllib_scoreflow.experiments.spec import read_experiments
from rllib_scoreflow.runs.plan import TrainOptions, prepare
from rllib_scoreflow.versions import supported_ray
from tests.docs.code_blocks import parse_rllib

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
TEXTS = {path.name: path.read_text() for path in CLUSTER.iterdir() if path.is_file()}
README = TEXTS["README.md"]


def lines(text: str) -> Iterator[str]:
    """The lines of a file, those continued by a backslash as one."""
    return iter(text.replace("\\\n", " ").splitlines())


def shown_commands(text: str, program: str) -> list[list[str]]:
    """Words of every command of a program in the fenced blocks of a Markdown text, without its own name."""
    blocks = re.findall(r"```(?:sh|bash)?\n(.*?)```", text, re.DOTALL)
    found = (re.search(rf"(?:^|\s){program} (.*)", line) for block in blocks for line in lines(block))
    return [shlex.split(match[1], comments=True) for match in found if match]


def entrypoint() -> list[str]:
    program, *words = shlex.split(yaml.safe_load(TEXTS["rayjob.yaml"])["spec"]["entrypoint"])
    assert program == "rllib"
    return words


def dangers(text: str) -> list[str]:
    """Settings that would let strangers in."""
    patterns = (
        r"dashboard-host[= ]+(?!127\.0\.0\.1)\S+",
        r"0\.0\.0\.0(?!/)",
        r"RAY_AUTH_MODE=(?!token\b)\S+",
        r"RAY_AUTH_TOKEN=\S+",
    )
    return [match[0] for pattern in patterns for match in re.finditer(pattern, text)]


@pytest.mark.parametrize("name", sorted(set(TEXTS) - {"README.md"}))
def test_nothing_is_opened_to_strangers(name: str) -> None:
    assert dangers(TEXTS[name]) == []


@pytest.mark.parametrize(
    "line",
    [
        "ray start --head --dashboard-host=0.0.0.0",
        "ray start --head --dashboard-host ::",
        "export RAY_AUTH_MODE=disabled",
        "RAY_AUTH_TOKEN=abc ray status",
    ],
)
def test_opening_to_strangers_would_be_noticed(line: str) -> None:
    assert dangers(line)


def test_rayjob_runs_a_command_that_exists_and_may_be_repeated() -> None:
    options = parse_rllib(entrypoint())
    assert (options["ray_address"], options["resume"]) == ("auto", True)
    assert options["results_dir"].is_relative_to("/shared")
    with pytest.raises(typer.TyperException):
        parse_rllib([*entrypoint(), "--checkpoint-frequency", "1"])


def test_rayjob_file_is_in_the_image_and_its_settings_fit() -> None:
    options = parse_rllib(entrypoint())
    (home,) = re.findall(r"^WORKDIR (\S+)$", TEXTS["Dockerfile"], re.MULTILINE)
    file = options["file"].relative_to(home)
    assert f"COPY --chown=ray:users {file.parts[0]} {file.parts[0]}\n" in TEXTS["Dockerfile"]
    raw = read_experiments(ROOT / file)
    for experiment in prepare(raw, str(file), TrainOptions(Path("results"), sets=options["sets"])):
        config = config_check.check_config(experiment, algorithms.find_algorithm(experiment.run, "test"))
        assert (config["num_learners"], config["num_gpus_per_learner"]) == (1, 1)
    groups = {
        g["groupName"]: g for g in yaml.safe_load(TEXTS["rayjob.yaml"])["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    }
    assert config["custom_resources_per_env_runner"] == {"rollout": 1}
    room = groups["rollout"]["maxReplicas"] * int(groups["rollout"]["resources"]["rollout"])
    assert config["num_env_runners"] <= room


def test_slurm_runs_a_command_that_exists() -> None:
    (line,) = (line for line in lines(TEXTS["slurm.sh"]) if line.startswith("rllib train"))
    words = shlex.split(line.removeprefix("rllib ").rstrip(" &").replace('"$@"', "hopper.yaml"))
    assert parse_rllib(words)["resume"] is True


@pytest.mark.parametrize("text", [README, (ROOT / "README.md").read_text()], ids=["cluster", "main"])
def test_readme_shows_commands_that_exist(text: str) -> None:
    for words in shown_commands(text, "ray job submit"):
        before, after = words[: words.index("--")], words[words.index("--") + 1 :]
        submit.make_context("submit", [*before, "--", *after], resilient_parsing=False)
        assert after[0] == "rllib"
        parse_rllib(after[1:])
    for words in shown_commands(text, "sbatch"):
        script = next(word for word in words if not word.startswith("-"))
        assert (ROOT / script).is_file()
        parse_rllib(["train", "file", *words[words.index(script) + 1 :]])


def test_readme_shows_how_to_submit() -> None:
    assert len(shown_commands(README, "ray job submit")) >= 2
    assert shown_commands(README, "sbatch")


def test_readme_names_every_file_and_only_files_that_exist() -> None:
    for name in set(TEXTS) - {"README.md"}:
        assert f"`{name}`" in README
    for text, folder in ((README, CLUSTER), ((ROOT / "README.md").read_text(), ROOT)):
        for named in re.findall(r"\bcluster/[\w.-]+\w", text):
            assert (ROOT / named).is_file(), named
        for link in re.findall(r"\]\((?!http|#)([^)]+)\)", text):
            assert (folder / link).exists(), link


def test_runtime_environment_is_one_that_ray_knows() -> None:
    raw = yaml.safe_load(TEXTS["runtime_env.yaml"])
    assert set(raw) <= RuntimeEnv.known_fields
    environment = RuntimeEnv(**raw)
    extras = re.findall(r"\[(\w+)\]", " ".join(environment.pip_config()["packages"]))
    assert extras == ["envpool"]
    with pytest.raises((ValueError, TypeError)):
        RuntimeEnv(**{**raw, "pip": {**raw["pip"], "package": raw["pip"]["packages"]}})


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_images_have_the_pinned_ray(name: str) -> None:
    (pinned,) = re.findall(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert supported_ray().contains(Version(pinned))
    named = re.findall(r"(?:rayproject/ray:|-ray|rayVersion: \"?)(\d[\d.]*\d)", TEXTS[name])
    assert set(named) <= {pinned}
    if name in {"aws.yaml", "raycluster.yaml", "rayjob.yaml", "Dockerfile"}:
        assert named
