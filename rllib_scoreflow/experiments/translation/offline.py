"""Recorded data: where it is read from and written to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.experiments import search_space
from rllib_scoreflow.experiments.checks.effects import OFFLINE
from rllib_scoreflow.experiments.renames.table import say_renamed
from rllib_scoreflow.experiments.translation.draft import Draft, absent
from rllib_scoreflow.files.user_paths import expand_user

_READERS = {"json": "read_json", "parquet": "read_parquet"}
_ITERATIONS = "dataset_num_iters_per_learner"


def translate(draft: Draft) -> None:
    """Translate ``input``, ``input_config`` and ``output_config``.

    Raises:
        InputError: the data is not there, or is of a form that RLlib reads no more.
    """
    _read(draft)
    _write(draft)


def _read(draft: Draft) -> None:
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
    draft.config["input"] = source
    if _is_json(source) and "input_read_method" not in draft.config:
        draft.config["input_read_method"] = "read_json"
        draft.config.setdefault("input_read_sample_batches", True)
        draft.say("JSON files of input are read by input_read_method: read_json, input_read_sample_batches: true now")
    learners = draft.config.get("num_learners", draft.defaults.get("num_learners"))
    if draft.algorithm in OFFLINE and not learners and draft.config.get(_ITERATIONS) is None:
        draft.config[_ITERATIONS] = 1
        draft.say(f"one batch is one update, as {_ITERATIONS} is 1 unless it is given")


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
    for path in source if isinstance(source, list) else [source]:
        if not isinstance(path, str):
            raise InputError(f"{draft.where}.input is {quote(source)} and must be a path, or a list of such.")
        if path.startswith("d4rl."):
            dataset = path.removeprefix("d4rl.")
            raise draft.refuse(
                "input", path, f"RLlib reads no D4RL any more; clone it by `run: FlowBC` with dataset: {dataset}, or "
                "give Parquet files"
            )  # fmt: skip
        if "://" in path or any(mark in path for mark in "*?["):
            continue
        if not expand_user(path).exists():
            raise InputError(f"{draft.where}.input is {quote(path)}, which does not exist; record data there first.")


def _is_json(source: Any) -> bool:
    paths = source if isinstance(source, list) else [source]
    if search_space.is_space(source) or not paths or not all(isinstance(path, str) for path in paths):
        return False
    return all(_holds_json(path) for path in paths)


def _holds_json(path: str) -> bool:
    if path.endswith((".json", ".jsonl")):
        return True
    folder = expand_user(path) if "://" not in path else Path()
    return "://" not in path and folder.is_dir() and any(folder.glob("*.json")) and not any(folder.rglob("*.parquet"))


def _write(draft: Draft) -> None:
    described, target = draft.take("output_config"), draft.config.get("output")
    described = {} if absent(described) or not described else described
    if target == "dataset":
        path = described.get("path") if isinstance(described, Mapping) else None
        if path is None:
            raise InputError(f"{draft.where}.output is 'dataset' and output_config has no path; give output: PATH.")
        if described.get("format", "parquet") != "parquet":
            raise draft.refuse(
                "output_config.format", described["format"], f"recordings are Parquet files; give output: {path}"
            )
        rows = described.get("max_num_samples_per_file")
        draft.config["output"] = path
        draft.say(say_renamed("output_config.path", "output"))
        if rows is not None:
            draft.put("output_config.max_num_samples_per_file", "output_max_rows_per_file", rows)
            draft.say(say_renamed("output_config.max_num_samples_per_file", "output_max_rows_per_file"))
    elif described:
        raise draft.refuse("output_config", described, "give output_write_method_kwargs, what Ray Data's writer takes")
