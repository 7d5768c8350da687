"""Recorded data: where it is read from."""

import glob
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.experiments import search_space
from rllib_scoreflow.experiments.checks.effects import OFFLINE
from rllib_scoreflow.experiments.translation.draft import Draft, absent
from rllib_scoreflow.experiments.translation.recordings import (
    holds_episodes,
    in_full,
    json_files,
    require_packer,
    steps_of_sample_batches,
)
from rllib_scoreflow.files.user_paths import expand_user

_READERS = {"json": "read_json", "parquet": "read_parquet"}
_ITERATIONS = "dataset_num_iters_per_learner"
_DATA_WORKERS = ("input_read_method_kwargs", "map_batches_kwargs")
_EPISODES = "input_read_episodes"
_EVALUATORS = "evaluation_num_env_runners"
_NORMALIZED = "actions_in_input_normalized"
_BATCH_SIZES = ("train_batch_size_per_learner", "train_batch_size")


def translate(draft: Draft) -> None:
    """Translate ``input`` and ``input_config``.

    Raises:
        InputError: the data is not there, or is of a form that RLlib reads no more.
    """
    described = draft.take("input_config")
    source = draft.take("input")
    if absent(source):
        source = draft.take("input_")
    described = {} if absent(described) or not described else described
    if absent(source) or source == "sampler":
        if described:
            raise draft.refuse("input_config", described, "input: dataset is missing beside it")
        if source == "sampler" and draft.algorithm in OFFLINE and draft.shown != "{}":
            draft.say(f"{draft.shown.format('input')}: sampler is always so now")
        return
    if source == "dataset":
        source = _described(draft, described)
        draft.say(f"input: dataset is called input: {quote(source)} now")
    elif described:
        raise draft.refuse("input_config", described, "input: dataset alone had it; give input_read_method_kwargs")
    _check_source(draft, source)
    source = _expanded(draft, source)
    draft.config["input"] = source
    paths = source if isinstance(source, list) else [source]
    if _EPISODES not in draft.config and not search_space.is_space(source) and holds_episodes(paths):
        draft.config[_EPISODES] = True
        draft.say(f"whole episodes of input are read by {_EPISODES}: true")
    if any(one is True for one in search_space.each_value(draft.config.get(_EPISODES))):
        require_packer(f"{draft.where}.input holds whole episodes", "record with output_write_episodes: false")
    normalized = draft.take(_NORMALIZED)
    if not absent(normalized) and not isinstance(normalized, bool):
        raise InputError(f"{draft.where}.{_NORMALIZED} is {quote(normalized)} and must be true or false.")
    if _is_json(source) and "input_read_method" not in draft.config:
        draft.config["input_read_method"] = "read_json"
        draft.say("JSON files of input are read by input_read_method: read_json now")
        _read_sample_batches(draft, source, normalized)
    elif normalized is True:
        draft.say(f"{_NORMALIZED}: true is always so now")
    _count_updates(draft)
    _look_at_the_environment(draft)
    _read_beside_the_trial(draft)


def _read_beside_the_trial(draft: Draft) -> None:
    """Ask for no CPUs for Ray Data's workers: a trial that has all of them would wait for its data for ever."""
    if draft.algorithm not in OFFLINE or draft.shown != "{}":
        return
    method = draft.config.get("input_read_method", "read_parquet")
    for key in _DATA_WORKERS if method in _READERS.values() else _DATA_WORKERS[1:]:
        given = draft.config.get(key)
        if given is None or (isinstance(given, Mapping) and not search_space.is_space(given)):
            draft.config[key] = {"num_cpus": 0, **(given or {})}


def _look_at_the_environment(draft: Draft) -> None:
    """Let an EnvRunner for evaluations give the spaces, where no evaluation does: YAML has no others."""
    evaluates = any(draft.config.get(key) for key in ("evaluation_interval", _EVALUATORS))
    if draft.algorithm not in OFFLINE or evaluates or (draft.env is None and draft.config.get("env") is None):
        return
    draft.config[_EVALUATORS] = 1
    draft.say(f"{_EVALUATORS} is 1, as {draft.algorithm} takes the spaces of its environment from there")


def _count_updates(draft: Draft) -> None:
    """One batch is one update, as it was. RLlib's CQL on a local Learner takes a single batch for an iterator."""
    learners = draft.config.get("num_learners", draft.defaults.get("num_learners"))
    if draft.algorithm not in OFFLINE or learners:
        return
    least = 2 if draft.algorithm == "CQL" else 1
    given = draft.config.get(_ITERATIONS)
    if given is None:
        draft.config[_ITERATIONS] = least
        draft.say(f"an iteration is {least} update{'s' if least > 1 else ''}, as {_ITERATIONS} is {least} unless given")
    elif least > 1 and any(one == 1 for one in search_space.each_value(given)):
        raise InputError(f"{draft.where}.{_ITERATIONS} is 1, with which CQL fails on a local Learner; give {least}.")


def _described(draft: Draft, described: Any) -> Any:
    if not isinstance(described, Mapping) or search_space.is_space(described):
        raise InputError(f"{draft.where}.input_config is {quote(described)} and must be a mapping.")
    for key, value in described.items():
        if key not in ("format", "paths", "path"):
            raise draft.refuse(
                f"input_config.{key}", value, "give input_read_method_kwargs, what Ray Data's reader takes"
            )
    source = described.get("paths", described.get("path"))
    if source is None:
        raise InputError(f"{draft.where}.input_config has no paths; give those of the data.")
    kind = described.get("format", "json")
    if kind not in _READERS:
        raise InputError(f"{draft.where}.input_config.format is {quote(kind)} and must be json or parquet.")
    if kind == "parquet":
        draft.config.setdefault("input_read_method", _READERS[kind])
    return source


def _check_source(draft: Draft, source: Any) -> None:
    if search_space.is_space(source):
        return
    for path in source if isinstance(source, list) and source else [source]:
        if not isinstance(path, str) or not path:
            raise InputError(f"{draft.where}.input is {quote(source)} and must be a path, or a list of such.")
        if path.startswith("d4rl."):
            dataset = path.removeprefix("d4rl.")
            raise draft.refuse(
                "input", path, f"RLlib reads no D4RL any more; clone it by `run: FlowBC` with dataset: {dataset}, or "
                "give Parquet files"
            )  # fmt: skip
        if "://" in path or _is_pattern(path):
            continue
        if not expand_user(path).exists():
            raise InputError(f"{draft.where}.input is {quote(path)}, which does not exist; record data there first.")
        if path.endswith(".zip"):
            raise InputError(f"{draft.where}.input is {quote(path)}, which RLlib unpacks no more; name what is in it.")


def _expanded(draft: Draft, source: Any) -> Any:
    """Local paths in full, and the files that patterns stand for, which Ray Data's readers do not look for."""
    if search_space.is_space(source):
        return source
    paths = source if isinstance(source, list) else [source]
    found: list[str] = []
    for path in paths:
        matching = _matching(expand_user(path)) if _is_pattern(path) else [in_full(path)]
        if not matching:
            raise InputError(f"{draft.where}.input is {quote(path)}, which matches no file; record data there first.")
        found += matching
    return found if isinstance(source, list) or len(found) > 1 else found[0]


def _matching(pattern: Path) -> list[str]:
    pattern = Path.cwd() / pattern
    root = Path(pattern.anchor)
    return sorted(map(str, root.glob(str(pattern.relative_to(root)))))


def _is_pattern(path: str) -> bool:
    return "://" not in path and glob.has_magic(path)


def _is_json(source: Any) -> bool:
    paths = source if isinstance(source, list) else [source]
    if search_space.is_space(source) or not paths or not all(isinstance(path, str) for path in paths):
        return False
    return all(path.endswith((".json", ".jsonl")) or json_files(path) for path in paths)


def _read_sample_batches(draft: Draft, source: Any, normalized: Any) -> None:
    """Let lines of sample batches be read as such; lines of another kind are for RLlib's reader alone."""
    paths = source if isinstance(source, list) else [source]
    steps = steps_of_sample_batches(paths, f"{draft.where}.input")
    if steps is None or draft.config.get(_EPISODES):
        return
    from rllib_scoreflow.experiments.translation.sample_batches import (
        NormalizedSampleBatchPreLearner,
        SampleBatchPreLearner,
    )

    reader = NormalizedSampleBatchPreLearner if normalized is True else SampleBatchPreLearner
    draft.config.setdefault("prelearner_class", reader)
    draft.config.setdefault("input_read_sample_batches", True)
    size = next((draft.config[key] for key in _BATCH_SIZES if key in draft.config), draft.defaults.get(_BATCH_SIZES[0]))
    if isinstance(size, int) and not isinstance(size, bool):  # as many lines as hold the steps of one update
        draft.config.setdefault("input_read_batch_size", max(1, -(-size // steps)))
