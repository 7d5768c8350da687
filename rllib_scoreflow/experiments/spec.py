"""Experiment files: YAML in RLlib's old form, or a Python file with a variable `config`.

YAML::

    hopper-finetune:                      # the experiment's name, also its folder
      run: ScoreFlow                      # any RLlib algorithm, or "module:Class"
      env: hopper-medium-v2
      weights_from: hopper-pretrain       # an earlier experiment, the path of a policy, or hf:ORG/NAME
      stop: {env_steps: 1200000}          # the first one reached ends the run
      config: {gamma: 0.99}               # keys of the algorithm's config; a value may be a grid
                                          # {grid_search: [...]} or a domain {uniform: [0.9, 0.99]}
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rllib_scoreflow.errors import InputError, quote, shorten
from rllib_scoreflow.experiments import search_space
from rllib_scoreflow.experiments.renames import experiment_keys as renames
from rllib_scoreflow.experiments.renames.table import Removed, Renamed
from rllib_scoreflow.experiments.settings import (
    CheckpointSettings,
    ExperimentSettings,
    check_settings,
    refuse_unknown_keys,
)
from rllib_scoreflow.experiments.yaml import read_yaml
from rllib_scoreflow.suggest import hint

# Of the 255 bytes of a file's name.
_LONGEST_NAME = 200
EXPERIMENT_KEYS = frozenset(ExperimentSettings.model_fields)
_SETTINGS = (
    "max_failures", "max_concurrent_trials", "search_seed", "scheduler", "scheduler_config", "metric", "mode",
    "loggers", "restore",
)  # fmt: skip


@dataclass(frozen=True)
class Experiment:
    """One experiment, checked for its form (its `config` is checked against the algorithm later).

    Attributes:
        name: unique in its file; also the name of its folder.
        origin: what to call the source in messages, such as ``hopper.yaml``.
        run: the algorithm: a registered name, ``module:Class``, or the class itself (Python files).
        env: environment id or None (then `config` or the algorithm says it).
        config: keys and values for the algorithm's config.
        base: a ready AlgorithmConfig from a Python file, over which `config` is laid; None for
            YAML.
        stop: result key -> value; the first one reached ends a trial.
        weights_from: name of an earlier experiment, a path or hf:ORG/NAME; None to start from new weights.
        num_samples: how often the grid is repeated, or drawn from the domains.
        checkpoint: CheckpointConfig's arguments.
        settings: max_failures, max_concurrent_trials, search_seed, scheduler, scheduler_config, metric,
            mode, loggers, restore, as far as given.
        source_text: text of a Python file, which stands for `base` in the fingerprint.
        notes: what was translated into today's keys, each without a full stop.
        renamed: today's key -> what the file calls it, where that is another name.
    """

    name: str
    origin: str
    run: Any
    env: Any = None
    config: Mapping[str, Any] = field(default_factory=dict)
    base: Any = None
    stop: Mapping[str, Any] = field(default_factory=dict)
    weights_from: str | None = None
    num_samples: int = 1
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    source_text: str | None = None
    notes: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)

    def setting(self, key: str) -> Any:
        """One of the settings, or its default."""
        return self.settings.get(key, ExperimentSettings.model_fields[key].default)

    @property
    def where(self) -> str:
        """The start of a message about this experiment: file and name."""
        return f"{self.origin}: {shorten(self.name)}"


def read_experiments(path: Path) -> dict[str, dict[str, Any]]:
    """Read a file into raw experiments, name -> keys, without importing Ray for a YAML file.

    Args:
        path: a ``.yaml``, ``.yml``, ``.json`` or ``.py`` file. A Python file is run.

    Returns:
        Raw experiments in the order of the file. Those from Python hold ``_base`` (AlgorithmConfig)
        and ``_source``.

    Raises:
        InputError: the file is missing or has another form.
    """
    if path.suffix == ".py":
        from rllib_scoreflow.experiments.python_files import read_python  # late: environments load much

        return read_python(path)
    if path.suffix not in {".yaml", ".yml", ".json"} and path.exists() and not path.is_dir():
        raise InputError(f"{path} is neither YAML nor Python by its name; rename it to end in .yaml or .py.")
    return read_raw(read_yaml(path), str(path))


def read_raw(raw: Any, origin: str) -> dict[str, dict[str, Any]]:
    """Take the content of a file for raw experiments, name -> keys.

    Args:
        raw: what the YAML says.
        origin: what to call the file in messages.

    Raises:
        InputError: it has another form.
    """
    if not isinstance(raw, dict) or not raw:
        raise InputError(
            f"{origin} holds no experiments; write them as `name: "
            f"{{run: PPO, env: CartPole-v1, stop: ..., config: ...}}`."
        )
    for name, body in raw.items():
        if not isinstance(body, dict):
            remedy = "put it under an experiment's name" if name in EXPERIMENT_KEYS else "give it `run: ALGORITHM`"
            raise InputError(f"{origin}: the top-level key {quote(name)} is not an experiment (a mapping); {remedy}.")
    found = {str(name): dict(body) for name, body in raw.items()}
    if len(found) < len(raw):
        raise InputError(f"{origin}: two experiments have one name, as a number and as a text; rename one of them.")
    for name, body in found.items():
        for key in body:
            if not isinstance(key, str) or key.startswith("_"):  # those are for Python files, see below
                raise InputError(f"{origin}: {name}: unknown key {quote(key)}; {hint(str(key), EXPERIMENT_KEYS)}")
    return found


def as_name(text: str, also: str = "-_.") -> str:
    """Return a text with everything but letters, digits and the characters of `also` replaced, for a name or folder."""
    return "".join(c if c.isalnum() or c in also else "_" for c in text)


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's text, without its full stop."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def build_experiment(name: str, raw: Mapping[str, Any], origin: str) -> Experiment:
    """Check the form of one raw experiment.

    Args:
        name: the experiment's name.
        raw: its keys; not modified.
        origin: what to call the source in messages.

    Returns:
        The experiment; its `config` is not yet checked against the algorithm.

    Raises:
        InputError: an unknown key, a wrong type, a missing `run` or `stop`.
    """
    where = f"{origin}: {shorten(name)}"
    if len(name.encode()) > _LONGEST_NAME:
        raise InputError(f"{where}: the name is also a folder, so it may have {_LONGEST_NAME} characters at most.")
    if not name or name in {".", ".."} or not all(c.isalnum() or c in "-_.+=@" for c in name):
        raise InputError(f"{where}: the name is also a folder, so use letters, digits and -_.+=@ only.")
    rest = {key: value for key, value in raw.items() if not key.startswith("_")}
    for key in rest:
        gone = renames.EXPERIMENT_KEYS.get(key)
        if isinstance(gone, Removed):
            raise InputError(f"{where}: the key {key!r} no longer has a meaning; {gone.reason}.")
    checkpoint = _take_checkpoint_settings(rest)
    refuse_unknown_keys(ExperimentSettings, rest, where)
    refuse_unknown_keys(CheckpointSettings, checkpoint, where, below="checkpoint_config.")
    if "run" not in rest:
        raise InputError(f"{where}: `run` is missing; give the algorithm's name, such as `run: PPO`.")
    if rest.get("stop", {}) == {}:
        raise InputError(
            f"{where}: `stop` is missing, so the run would never end; give for example `stop: "
            f"{{training_iteration: 10}}`."
        )
    config = rest.get("config") or {}
    if search_space.is_space(rest.get("env")):
        config = {**config, "env": rest.pop("env")}
    # A Python file gives the class itself.
    named = {"run": rest["run"].__name__} if isinstance(rest["run"], type) else {}
    check_settings(ExperimentSettings, rest | named, where)
    check_settings(CheckpointSettings, checkpoint, where, below="checkpoint_config.")
    for key in sorted(rest.keys() - {"config"}):  # some of RLlib's own options in `config` may be infinite
        _check_finite(rest[key], f"{where}: {key}")
    if rest.get("scheduler") is None and set(rest.get("scheduler_config") or {}) - {"metric", "mode"}:
        raise InputError(f"{where}: scheduler_config has no effect without a scheduler; give one, such as asha.")
    return Experiment(
        name=name,
        origin=origin,
        run=raw["run"],
        env=rest.get("env"),
        config=config,
        base=raw.get("_base"),
        stop=rest["stop"],
        weights_from=rest.get("weights_from"),
        num_samples=rest.get("num_samples", 1),
        checkpoint=checkpoint,
        settings={key: rest[key] for key in _SETTINGS if rest.get(key) is not None},
        source_text=raw.get("_source"),
    )


def _check_finite(value: Any, what: str) -> None:
    """Refuse infinities and keys that are no texts in all that is not the algorithm's to judge."""
    if isinstance(value, dict):
        for key, below in value.items():
            if not isinstance(key, str):
                raise InputError(f"{what} has the key {quote(key)}, which is no text; correct it.")
            _check_finite(below, f"{what}.{key}")
    elif isinstance(value, list):
        for below in value:
            _check_finite(below, what)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{what} is {value}, which is never reached; give a finite number.")


def _take_checkpoint_settings(rest: dict[str, Any]) -> dict[str, Any]:
    """Take every spelling of the checkpoint settings out of `rest`."""
    given = rest.get("checkpoint_config")
    checkpoint = dict(given) if isinstance(given, dict) else {}
    for old, entry in renames.CHECKPOINT_KEYS.items():
        for place in (rest, checkpoint):
            if old in place and isinstance(entry, Renamed):
                checkpoint[entry.new] = place.pop(old)
    return checkpoint
