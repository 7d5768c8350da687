"""Recorded data: where it is written to."""

from collections.abc import Mapping
from typing import Any

from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.experiments import search_space
from rllib_scoreflow.experiments.checks.effects import OFFLINE
from rllib_scoreflow.experiments.renames.table import say_renamed
from rllib_scoreflow.experiments.translation import agents
from rllib_scoreflow.experiments.translation.draft import Draft, absent
from rllib_scoreflow.experiments.translation.recordings import in_full, require_packer

_ROWS = "output_max_rows_per_file"
_EPISODES, _COLUMNS = "output_write_episodes", "output_compress_columns"


def translate(draft: Draft) -> None:
    """Translate ``output`` and ``output_config``, after the policies.

    Raises:
        InputError: nothing can be recorded, or not in this form.
    """
    described, target = draft.take("output_config"), draft.config.get("output")
    described = {} if absent(described) or not described else described
    if target == "dataset":
        target = _described_output(draft, described)
    elif described:
        raise draft.refuse("output_config", described, "give output_write_method_kwargs, what Ray Data's writer takes")
    if target is None and draft.shown == "{}":
        for key in sorted(draft.config):
            if key.startswith("output_") and any(
                one != draft.defaults.get(key) for one in search_space.each_value(draft.config[key])
            ):
                raise draft.refuse(key, draft.config[key], "nothing is recorded without output: PATH beside it")
    elif isinstance(target, str):
        _check_recording(draft, target)
        draft.config["output"] = in_full(target)
        # Tune leaves EnvRunners five seconds to write the rest, which a loaded machine does not keep.
        if draft.config.get(_ROWS) is not None:
            draft.say(f"an EnvRunner writes a file when it has {_ROWS} rows (episodes or steps), and never the rest")


def _described_output(draft: Draft, described: Any) -> str:
    path = described.get("path") if isinstance(described, Mapping) else None
    if path is None:
        raise InputError(f"{draft.where}.output is 'dataset' and output_config has no path; give output: PATH.")
    if described.get("format", "parquet") != "parquet":
        raise draft.refuse(
            "output_config.format", described["format"], f"recordings are Parquet files; give output: {path}"
        )
    rows = described.get("max_num_samples_per_file")
    draft.say(say_renamed("output_config.path", "output"))
    if rows is not None:
        draft.put("output_config.max_num_samples_per_file", _ROWS, rows)
        draft.say(say_renamed("output_config.max_num_samples_per_file", _ROWS))
    return str(path)


def _check_recording(draft: Draft, target: str) -> None:
    what = f"{draft.where}.output is {quote(target)}"
    if target == "logdir":
        raise InputError(f"{what}, which is no place of its own any more; give output: PATH.")
    if agents.has_several(draft):
        raise InputError(f"{what}, and RLlib records no environment of several agents; drop the key.")
    if draft.algorithm in OFFLINE:
        raise InputError(f"{what}, and {draft.algorithm} samples nothing that could be recorded; drop the key.")
    episodes = draft.config.get(_EPISODES, draft.defaults.get(_EPISODES))
    if any(search_space.each_value(episodes)):
        columns = draft.config.get(_COLUMNS)
        if columns is not None and columns != draft.defaults.get(_COLUMNS):
            raise draft.refuse(_COLUMNS, columns, f"whole episodes are recorded; set {_EPISODES}: false beside it")
        require_packer(f"{what}, which records whole episodes", f"set {_EPISODES}: false")
