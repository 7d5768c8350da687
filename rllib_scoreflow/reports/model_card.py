"""The model card of a policy on the hub, from its artefact and the folder of its run."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import yaml

from rllib_scoreflow.envs.classes import names_code
from rllib_scoreflow.files.hub import HUB_PREFIX, HubId, import_hub
from rllib_scoreflow.files.policy_folder import POLICY_WEIGHTS
from rllib_scoreflow.policy import PolicyDescription, read_metadata
from rllib_scoreflow.reports.attribution import sentence_of, table_of
from rllib_scoreflow.reports.card_evaluations import (
    Measured,
    attribution_of,
    measured_by_attribution,
    measured_in_training,
)
from rllib_scoreflow.reports.sweep import read_sweep
from rllib_scoreflow.reports.templating import make_template
from rllib_scoreflow.reports.trials import read_description

CARD_NAME = "README.md"
# What the hub itself shows at the top of a page about reinforcement learning.
VIDEO_NAME = "replay.mp4"
_LIBRARY = "rllib-scoreflow"
_TAGS = ("reinforcement-learning", "robotics", "imitation-learning", "flow-matching", "rllib")


@dataclass(frozen=True)
class Stage:
    """A run that led to the policy: its name, its algorithm, its stop and its options as YAML."""

    name: str
    algorithm: str
    until: str
    config: str
    seed: Any


@dataclass(frozen=True)
class CardSource:
    """What a card is made of.

    Attributes:
        policy: the policy folder.
        digest: of the policy.
        run: the folder of the experiment that exported this very policy, None where there is none.
        earlier: folders of the experiments that it goes back to, the first one first.
    """

    policy: Path
    digest: str
    run: Path | None
    earlier: Sequence[Path] = ()


def make_card(source: CardSource, target: HubId, *, license_id: str | None, has_video: bool) -> str:
    """Return the text of README.md: the hub's YAML, how to use the policy, how good it is and where it is from.

    Paths of this machine are left out: of a file there is its name.

    Args:
        source: the policy and its run.
        target: the repository and branch that it goes to.
        license_id: as the hub writes it, such as apache-2.0; None: the card names none.
        has_video: a video goes with it.

    Raises:
        InputError: a file of the run is damaged.
    """
    described = read_metadata(source.policy)
    env = described.metadata.env_id
    start = described.config.sde.chain.start
    attribution = None if source.run is None else attribution_of(source.run, source.policy, source.digest)
    measured = [] if attribution is None else measured_by_attribution(attribution, start)
    measured += [] if source.run is None else measured_in_training(_rows_of(source.run))
    stages = [_read_stage(folder) for folder in (*source.earlier, *([] if source.run is None else [source.run]))]
    name = target.repo.partition("/")[2]
    hub_id = f"{HUB_PREFIX}{target}"
    text = make_template("model_card.md.j2").render(
        metadata=_metadata(name, described, measured, license_id),
        name=name,
        hub_id=hub_id,
        repo_id=f"{HUB_PREFIX}{target.repo}",
        folder=name,
        summary=_summary(described),
        video=_address_of_video(target) if has_video else None,
        env=_name_of_env(env),
        env_option=f" --env {shlex.quote(env)}" if env is not None and names_code(env) else "",
        shapes=_shapes(described),
        headings=_headings(measured),
        measured=[_cells(one, _headings(measured)) for one in measured],
        attribution=attribution,
        attributed=table_of(attribution.rows) if attribution is not None else None,
        comparisons=[] if attribution is None else [sentence_of(one) for one in attribution.comparisons],
        facts=_facts(described, stages),
        stages=stages,
    )
    return str(text)


def _metadata(name: str, described: PolicyDescription, measured: Sequence[Measured], license_id: str | None) -> str:
    """The YAML at the head of the card, by the hub's own classes."""
    hub = import_hub()
    about = described.metadata
    best = next((one for one in measured if one.own), None)
    tags = [*_TAGS, *([about.variant] if about.fine_tuned else [])]
    if about.env_id is not None and not names_code(about.env_id):
        tags.append(about.env_id)
    data = hub.ModelCardData(
        library_name=_LIBRARY,
        license=license_id,
        pipeline_tag="reinforcement-learning",
        tags=tags,
        model_name=name,
        eval_results=None if best is None else _results(hub, about.env_id or "unknown", best),
    )
    return str(data.to_yaml())


def _results(hub: Any, env: str, best: Measured) -> list[Any]:
    task = {"task_type": "reinforcement-learning", "task_name": "reinforcement-learning"}
    place = {"dataset_type": env, "dataset_name": env}
    found = [("mean_reward", "mean return", best.return_mean, best.return_interval)]
    if best.success is not None:
        found.append(("success_rate", "success rate", best.success, best.success_interval))
    results = []
    for kind, title, value, interval in found:
        arguments: dict[str, Any] = {"measured": best.how.replace("`", "")}
        if best.episodes is not None:
            arguments["episodes"] = best.episodes
        if interval is not None:
            arguments["interval_95"] = [round(end, 4) for end in interval]
        results.append(
            hub.EvalResult(
                **task,
                **place,
                metric_type=kind,
                metric_name=title,
                metric_value=round(value, 4),
                metric_args=arguments,
            )
        )
    return results


def _summary(described: PolicyDescription) -> str:
    about = described.metadata
    data = "" if about.dataset is None else f" from {_code(PurePath(about.dataset).name)}"
    what = f"A flow-matching policy for {_name_of_env(about.env_id)}"
    text = f"{what}, which turns noise into chunks of actions: cloned{data}"
    if not about.fine_tuned:
        return f"{text}, and not fine-tuned."
    how = f"variant {_code(about.variant)}, {about.env_steps:,} environment steps"
    return f"{text}, and fine-tuned there by reinforcement learning ({how})."


def _name_of_env(env: str | None) -> str:
    return "an environment that it does not name" if env is None else _code(env)


def _code(text: str) -> str:
    """A text of a file as Markdown shows code: nothing in it is markup."""
    return "`{}`".format(" ".join(text.replace("`", "'").split()))


def _shapes(described: PolicyDescription) -> str:
    config = described.config
    what = f"[{config.observation_dim}]" if not config.cameras else "{'state': ..., 'images': ...}"
    return (
        f"{what} -> [{config.horizon} * {config.action_dim}] in raw units, of which {config.act_steps} steps are taken"
    )


def _headings(measured: Sequence[Measured]) -> list[str]:
    success = ["success"] if any(one.success is not None for one in measured) else []
    score = ["D4RL score"] if any(one.normalized_score is not None for one in measured) else []
    return ["what", "return", *success, *score, "episodes", "measured"]


def _cells(one: Measured, headings: Sequence[str]) -> list[str]:
    cells = {
        "what": one.what,
        "return": _with_interval(one.return_mean, one.return_interval, 1),
        "success": "" if one.success is None else _with_interval(one.success, one.success_interval, 3),
        "D4RL score": "" if one.normalized_score is None else f"{one.normalized_score:.1f}",
        "episodes": "" if one.episodes is None else str(one.episodes),
        "measured": one.how,
    }
    return [cells[heading] for heading in headings]


def _with_interval(value: float, interval: tuple[float, float] | None, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text if interval is None else f"{text} [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"


def _facts(described: PolicyDescription, stages: Sequence[Stage]) -> list[tuple[str, str]]:
    config, about = described.config, described.metadata
    sde = config.sde
    seeds = ", ".join(f"{stage.name} {stage.seed}" for stage in stages if stage.seed is not None)
    found = {
        "variant": f"{about.variant}" if about.fine_tuned else "flow (cloned only)",
        "environment": about.env_id,
        "dataset": None if about.dataset is None else PurePath(about.dataset).name,
        "dataset sha256": about.dataset_sha256,
        "environment steps": f"{about.env_steps:,}" if about.fine_tuned else None,
        "seeds": seeds,
        "velocity": f"{sde.velocity.kind} ({sde.velocity.type})",
        "denoising steps": f"{sde.chain.denoising_steps}, start {sde.chain.start}",
        "action chunk": f"{config.horizon} predicted, {config.act_steps} taken",
        "cameras": ", ".join(config.cameras),
        "versions": ", ".join(f"{name} {number}" for name, number in about.versions.items()),
        f"{POLICY_WEIGHTS} sha256": described.weights_sha256,
    }
    return [(what, str(value)) for what, value in found.items() if value]


def _read_stage(folder: Path) -> Stage:
    about = read_description(folder)
    config = _without_paths(about.get("config") or {})
    ends = " or ".join(f"{key} {value:,.10g}" for key, value in (about.get("stop") or {}).items())
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    name = str(about.get("experiment") or folder.name)
    return Stage(_code(name), str(about.get("run")), f", until {ends}" if ends else "", text, config.get("seed"))


def _without_paths(value: Any) -> Any:
    """Plain data in which a path of this machine is the name of its file."""
    if isinstance(value, Mapping):
        return {str(key): _without_paths(below) for key, below in value.items()}
    if isinstance(value, list):
        return [_without_paths(below) for below in value]
    if isinstance(value, str) and value.startswith(("/", "~")):
        return PurePath(value).name
    return value


def _rows_of(run: Path) -> Sequence[Mapping[str, Any]]:
    sweep = read_sweep(run)
    trial = next((one for one in sweep.trials if sweep.is_chosen(one)), next(iter(sweep.trials), None))
    return () if trial is None else trial.rows


def _address_of_video(target: HubId) -> str:
    endpoint = import_hub().constants.ENDPOINT
    return f"{endpoint}/{target.repo}/resolve/{target.revision or 'main'}/{VIDEO_NAME}"
