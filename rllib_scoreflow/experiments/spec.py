"""Experiment files: YAML in RLlib's old form, or a Python file with a variable `config`.

YAML::

    hopper-finetune:                      # the experiment's name, also its folder
      run: ScoreFlow                      # any RLlib algorithm, or "module:Class"
      env: hopper-medium-v2
      weights_from: hopper-pretrain       # an earlier experiment, or the path of a policy
      stop: {env_steps: 1200000}          # the first one reached ends the run
      config: {gamma: 0.99}               # keys of the algorithm's config; a value may be a grid
                                          # {grid_search: [...]} or a domain {uniform: [0.9, 0.99]}
"""

import math
import runpy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rllib_scoreflow.errors import InputError, quote, shorten
from rllib_scoreflow.experiments.yaml import read_text, read_yaml
from rllib_scoreflow.suggest import hint

# Where the old command had other names for the same thing.
_CHECKPOINT_ALIASES = {
    "checkpoint_freq": "checkpoint_frequency",
    "checkpoint_at_end": "checkpoint_at_end",
    "keep_checkpoints_num": "num_to_keep",
    "checkpoint_score_attr": "checkpoint_score_attribute",
}
_CHECKPOINT_KEYS: dict[str, tuple[type, ...]] = {
    "checkpoint_frequency": (int,),
    "checkpoint_at_end": (bool,),
    "num_to_keep": (int, type(None)),
    "checkpoint_score_attribute": (str, type(None)),
    "checkpoint_score_order": (str,),
}
_EXPERIMENT_KEYS: dict[str, tuple[type, ...]] = {
    "run": (str,),
    "env": (str, type(None)),
    "weights_from": (str, type(None)),
    "stop": (dict,),
    "config": (dict, type(None)),
    "num_samples": (int,),
    "search_seed": (int,),
    "checkpoint_config": (dict, type(None)),
    "max_failures": (int,),
    "max_concurrent_trials": (int,),
    "scheduler": (str, type(None)),
    "scheduler_config": (dict, type(None)),
    "metric": (str, type(None)),
    "mode": (str,),
    "loggers": (dict, type(None)),
}
_KEPT_OUT = {
    "local_dir": "use the option --results-dir instead",
    "storage_path": "use the option --results-dir instead",
    "restore": "use the option --resume instead",
    "resources_per_trial": "set num_learners, num_env_runners and so on in config instead",
}
# Of the 255 bytes of a file's name.
_LONGEST_NAME = 200
EXPERIMENT_KEYS = frozenset(_EXPERIMENT_KEYS)

# The least and the most of whole numbers: a slip in num_samples would run until somebody stops it, and numpy takes no
# larger seed.
_BOUNDS: dict[str, tuple[int, int | None]] = {
    "num_samples": (1, 100_000),
    "max_concurrent_trials": (1, None),
    "search_seed": (0, 2**32 - 1),
    "max_failures": (-1, None),
}


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
        weights_from: name of an earlier experiment or a path; None to start from new weights.
        num_samples: how often the grid is repeated, or drawn from the domains.
        checkpoint: CheckpointConfig's arguments.
        settings: max_failures, max_concurrent_trials, search_seed, scheduler, scheduler_config, metric,
            mode, loggers, as far as given.
        source_text: text of a Python file, which stands for `base` in the fingerprint.
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
        return _read_python(path)
    if path.suffix not in {".yaml", ".yml", ".json"} and path.exists() and not path.is_dir():
        raise InputError(f"{path} is neither YAML nor Python by its name; rename it to end in .yaml or .py.")
    raw = read_yaml(path)
    if not isinstance(raw, dict) or not raw:
        raise InputError(
            f"{path} holds no experiments; write them as `name: "
            f"{{run: PPO, env: CartPole-v1, stop: ..., config: ...}}`."
        )
    for name, body in raw.items():
        if not isinstance(body, dict):
            remedy = "put it under an experiment's name" if name in EXPERIMENT_KEYS else "give it `run: ALGORITHM`"
            raise InputError(f"{path}: the top-level key {quote(name)} is not an experiment (a mapping); {remedy}.")
    found = {str(name): dict(body) for name, body in raw.items()}
    if len(found) < len(raw):
        raise InputError(f"{path}: two experiments have one name, as a number and as a text; rename one of them.")
    for name, body in found.items():
        for key in body:
            if not isinstance(key, str) or key.startswith("_"):  # those are for Python files, see below
                raise InputError(f"{path}: {name}: unknown key {quote(key)}; {hint(str(key), EXPERIMENT_KEYS)}")
    return found


def _read_python(path: Path) -> dict[str, dict[str, Any]]:
    text = read_text(path)
    try:
        names = runpy.run_path(str(path), run_name="rllib_experiment_file")
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{path} failed when it was run: {type(error).__name__}: {first_line(error)}.") from error
    config = names.get("config")
    if config is None or not hasattr(config, "algo_class") or not hasattr(config, "update_from_dict"):
        found = "has no variable `config`" if config is None else f"has a `config` of type {type(config).__name__}"
        raise InputError(f"{path} {found}; set `config` to an AlgorithmConfig such as PPOConfig().")
    raw: dict[str, Any] = {"run": config.algo_class, "_base": config, "_source": text}
    raw.update({key: names[key] for key in EXPERIMENT_KEYS - {"run", "config", "env"} if key in names})
    return {path.stem: raw}


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
    checkpoint = _checkpoint(where, rest)
    for key, value in rest.items():
        _check_key(where, key, value)
    if "run" not in raw:
        raise InputError(f"{where}: `run` is missing; give the algorithm's name, such as `run: PPO`.")
    stop = rest.get("stop") or {}
    if not stop:
        raise InputError(
            f"{where}: `stop` is missing, so the run would never end; give for example `stop: "
            f"{{training_iteration: 10}}`."
        )
    for key, value in stop.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{where}: stop.{shorten(key)} is {quote(value)} and must be a number.")
    for key in sorted(rest.keys() - {"config"}):  # some of RLlib's own options in `config` may be infinite
        _check_finite(rest[key], f"{where}: {key}")
    for key, (least, most) in _BOUNDS.items():
        if key in rest and rest[key] < least:
            raise InputError(f"{where}: {key} is {rest[key]} and must be at least {least}.")
        if key in rest and most is not None and rest[key] > most:
            raise InputError(f"{where}: {key} is {shorten(rest[key])} and must be at most {most}.")
    if rest.get("scheduler") is None and set(rest.get("scheduler_config") or {}) - {"metric", "mode"}:
        raise InputError(f"{where}: scheduler_config has no effect without a scheduler; give one, such as asha.")
    for logger, arguments in (rest.get("loggers") or {}).items():
        _check_type(f"{where}: loggers.{shorten(logger)}", arguments, (dict, type(None)))
    if rest.get("mode", "max") not in {"max", "min"}:
        raise InputError(f"{where}: mode is {quote(rest['mode'])} and must be 'max' or 'min'.")
    settings_keys = (
        "max_failures",
        "max_concurrent_trials",
        "search_seed",
        "scheduler",
        "scheduler_config",
        "metric",
        "mode",
        "loggers",
    )
    return Experiment(
        name=name,
        origin=origin,
        run=raw["run"],
        env=rest.get("env"),
        config=rest.get("config") or {},
        base=raw.get("_base"),
        stop=stop,
        weights_from=rest.get("weights_from"),
        num_samples=rest.get("num_samples", 1),
        checkpoint=checkpoint,
        settings={key: rest[key] for key in settings_keys if rest.get(key) is not None},
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


def _check_key(where: str, key: str, value: Any) -> None:
    if key in _KEPT_OUT:
        raise InputError(f"{where}: the key {key!r} no longer has a meaning; {_KEPT_OUT[key]}.")
    if key not in _EXPERIMENT_KEYS:
        raise InputError(
            f"{where}: unknown key {quote(key)}; {hint(key, EXPERIMENT_KEYS, 'an experiment has the keys')}"
        )
    if key == "run" and isinstance(value, type):
        return
    _check_type(f"{where}: {key}", value, _EXPERIMENT_KEYS[key])


def _checkpoint(where: str, rest: dict[str, Any]) -> dict[str, Any]:
    """Take every spelling of the checkpoint settings out of `rest`."""
    given = rest.get("checkpoint_config") or {}
    _check_type(f"{where}: checkpoint_config", given, (dict,))
    checkpoint = dict(given)
    for old, new in _CHECKPOINT_ALIASES.items():
        if old in rest:
            checkpoint[new] = rest.pop(old)
        if old in checkpoint and old != new:
            checkpoint[new] = checkpoint.pop(old)
    for key, value in checkpoint.items():
        if key not in _CHECKPOINT_KEYS:
            what = f"unknown key checkpoint_config.{shorten(str(key))}"
            raise InputError(f"{where}: {what}; {hint(str(key), _CHECKPOINT_KEYS)}")
        _check_type(f"{where}: checkpoint_config.{key}", value, _CHECKPOINT_KEYS[key])
    for key, least in (("checkpoint_frequency", 0), ("num_to_keep", 1)):
        if checkpoint.get(key) is not None and checkpoint[key] < least:
            raise InputError(f"{where}: checkpoint_config.{key} is {checkpoint[key]} and must be at least {least}.")
    if checkpoint.get("checkpoint_score_order", "max") not in {"max", "min"}:
        raise InputError(f"{where}: checkpoint_config.checkpoint_score_order must be 'max' or 'min'.")
    return checkpoint


def _check_type(what: str, value: Any, types: tuple[type, ...]) -> None:
    wrong_bool = isinstance(value, bool) and bool not in types
    if wrong_bool or not isinstance(value, types):
        names = {dict: "a mapping", str: "a string", int: "a whole number", bool: "true or false"}
        wanted = " or ".join(names[t] for t in types if t in names)
        raise InputError(f"{what} is {quote(value)} and must be {wanted}.")
