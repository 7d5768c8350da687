"""What decides an experiment's result, and with it whether a folder holds that experiment."""

import hashlib
import importlib.util
import json
import os
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rllib_scoreflow.envs.classes import find_file, names_code
from rllib_scoreflow.errors import InputError, drop_addresses
from rllib_scoreflow.experiments import weights
from rllib_scoreflow.experiments.rllib_checkpoints import checkpoint_digest, find_checkpoint
from rllib_scoreflow.experiments.spec import Experiment
from rllib_scoreflow.files.digest import file_digest
from rllib_scoreflow.files.user_paths import expand_user

DATASET, POLICY = "dataset", "pretrained_policy"
# Options of a Python file's AlgorithmConfig that may name files.
PATH_KEYS = (DATASET, POLICY, "env_config", "input_")
_HASH_LIMIT_BYTES = 4 * 2**30  # beyond this a file is told apart by its size
# Where it runs, how often it may fail and who is told does not change what comes out.
_ELSEWHERE = {"max_failures", "max_concurrent_trials", "loggers"}
_INSTALLED = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib")}
_DATASET_OPTIONS = ("filter_key", "observation_keys", "cameras")


@dataclass(frozen=True)
class Identity:
    """An experiment's key.

    Attributes:
        digest: sha256 of all that decides its result but `stop`, in hex: a larger `stop` is no other experiment.
        of_first_version: the key that the first version of this package would have written for a `stop`, or None where
            it did not look at all that decides the result; for None, for the `stop` of the experiment.
    """

    digest: str
    of_first_version: Callable[[Mapping[str, Any] | None], str | None]


def identify(experiment: Experiment, config: Mapping[str, Any], policy: str | None) -> Identity:
    """Return the key of an experiment. Files that its config names count by their contents, not by their places.

    Args:
        experiment: the experiment, with every override laid over it.
        config: its checked config.
        policy: digest of the policy that it starts from, None without one.

    Raises:
        InputError: a file cannot be read.
    """
    settings = {key: value for key, value in experiment.settings.items() if key not in _ELSEWHERE}
    run = (
        experiment.run
        if isinstance(experiment.run, str)
        else f"{experiment.run.__module__}:{experiment.run.__qualname__}"
    )
    if "restore" in settings:
        settings["restore"] = checkpoint_digest(find_checkpoint(expand_user(settings["restore"])))
    common = {
        "run": run,
        "env": experiment.env if isinstance(experiment.env, str | None) else repr(experiment.env),
        "num_samples": experiment.num_samples,
        "settings": settings,
        "source": experiment.source_text,
        "weights": policy,
    }
    named: Mapping[str, Any] = {}
    if experiment.base is not None:
        named = {key: getattr(experiment.base, key, None) for key in PATH_KEYS}
    parts = {
        **common,
        "config": hash_contents({**named, **config}),
        "checkpoint": _choice_of_checkpoint(experiment),
        "modules": {name: _module_digest(name) for name in _modules(run, common["env"], config)},
    }

    def of_first_version(stop: Mapping[str, Any] | None) -> str | None:
        others = {key: value for key, value in {**named, **config}.items() if key != DATASET}
        if hash_contents(others) != others or not isinstance(config.get(DATASET), str | None):
            return None
        whole, ends = _whole_file(config.get(DATASET)), experiment.stop if stop is None else stop
        return _digest({**common, "config": config, "stop": ends, "dataset": whole})

    return Identity(_digest(parts), of_first_version)


def _digest(parts: Mapping[str, Any]) -> str:
    # A function counts by its name, and not by where this process has it.
    text = json.dumps(_with_text_keys(parts), sort_keys=True, default=lambda value: drop_addresses(repr(value)))
    return hashlib.sha256(text.encode()).hexdigest()


def _with_text_keys(value: Any) -> Any:
    """Keys of several types cannot be sorted."""
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else json.dumps(key): _with_text_keys(part) for key, part in value.items()}
    return value


def hash_contents(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config in which every file, dataset and policy that it names stands by a hash of its contents.

    Args:
        config: a checked config.

    Raises:
        InputError: a file cannot be read.
    """
    options = {key: config.get(key) for key in _DATASET_OPTIONS}

    def content(key: str, text: str) -> Any:
        if key == DATASET:
            return _dataset_digest(text, options)
        if key == POLICY:
            found = weights.find_policy(expand_user(text))
            return text if found is None else {"policy": weights.policy_digest(found)}
        path = named_file(text)
        return text if path is None else {"file": path.name, "sha256": _file_digest(path)}

    return {key: _replace_texts(key, value, content) for key, value in config.items()}


def with_pinned_policies(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config whose policies of the hub are named by their commits: a branch may move while a run goes on.

    Args:
        config: a config; grids and domains may stand for values.

    Raises:
        InputError: a policy cannot be fetched from the hub.
    """

    def pin(key: str, text: str) -> str:
        return weights.pin_policy(text) if key == POLICY else text

    return {key: _replace_texts(key, value, pin) if key == POLICY else value for key, value in config.items()}


def with_absolute_paths(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config whose files are named by absolute paths: a trial runs in a folder of its own.

    Args:
        config: a config; grids and domains may stand for values.
    """

    def absolute(key: str, text: str) -> Any:
        path = expand_user(text) if key in (DATASET, POLICY) else named_file(text)
        return str(path.resolve()) if path is not None and path.exists() else text

    return {key: _replace_texts(key, value, absolute) for key, value in config.items()}


def named_file(text: str) -> Path | None:
    """Return the file that a text of a config names, or None where it names none.

    Args:
        text: counts as the name of a file if it has a separator or an ending, and there is such a file: a file
            ``torch`` that happens to lie here is not what ``framework: torch`` means.
    """
    if len(text) > os.pathconf("/", "PC_PATH_MAX") or "\0" in text or not (os.sep in text or Path(text).suffix):
        return None
    try:
        path = expand_user(text)
        return path if path.is_file() else None
    except (InputError, OSError):
        return None


def _replace_texts(key: str, value: Any, change: Callable[[str, str], Any]) -> Any:
    """A value with every text in it changed; what stands in a grid or a list counts as its key's."""
    if isinstance(value, str):
        return change(key, value)
    if isinstance(value, Mapping):
        inner = {str(below) for below in value}
        return {
            below: _replace_texts(key if inner <= {"grid_search", "choice"} else str(below), part, change)
            for below, part in value.items()
        }
    if isinstance(value, list):
        return [_replace_texts(key, part, change) for part in value]
    return value


def _dataset_digest(dataset: str, options: Mapping[str, Any]) -> Any:
    """Name and contents of a dataset, of however many files; what cannot be found is refused elsewhere."""
    from rllib_scoreflow.data.cache import cache_folder, cached_digest
    from rllib_scoreflow.data.options import ReadOptions
    from rllib_scoreflow.data.sources import locate, source_digest

    path = expand_user(dataset)
    if path.is_file() and path.stat().st_size > _HASH_LIMIT_BYTES:
        return {"dataset": path.name, "size": path.stat().st_size}
    cache = cache_folder()
    wanted: dict[str, Any] = {key: value for key, value in options.items() if isinstance(value, str | list)}
    try:
        source = locate(dataset, cache, ReadOptions.of(**wanted))
        sha256 = source_digest(source, lambda file: cached_digest(file, cache))
    except InputError:  # of an algorithm that calls something else a dataset; ours refuses it when it is validated
        return {"file": path.name, "sha256": _file_digest(path)} if path.is_file() else dataset
    return {"dataset": source.name, "sha256": sha256}


def _whole_file(dataset: Any) -> str | None:
    path = expand_user(dataset) if isinstance(dataset, str) else None
    return None if path is None or not path.is_file() else _file_digest(path)


def _file_digest(path: Path) -> str:
    size = path.stat().st_size
    return file_digest(path) if size <= _HASH_LIMIT_BYTES else f"size {size}"


def _choice_of_checkpoint(experiment: Experiment) -> Mapping[str, Any]:
    """Which checkpoint is exported: the best of those that are written and kept, or else the last."""
    given = {key: value for key, value in experiment.checkpoint.items() if value is not None}
    if "checkpoint_score_attribute" in given:
        return {"checkpoint_score_order": "max", **given}
    return {} if given.get("checkpoint_at_end", True) else {key: given[key] for key in given if key != "num_to_keep"}


def _modules(run: str, env: Any, config: Mapping[str, Any]) -> Iterator[str]:
    """The modules or files of ``module:Class``, ``module:Id`` and ``package.Class``, and those of `plugins`."""
    for name in (run, env, config.get("env")):
        if isinstance(name, str) and ":" in name:
            yield name.rpartition(":")[0]
        elif isinstance(name, str) and names_code(name) and _module_digest(name.rpartition(".")[0]) is not None:
            yield name.rpartition(".")[0]
    plugins = config.get("plugins")
    yield from (name for name in (plugins if isinstance(plugins, list) else ()) if isinstance(name, str))


def _module_digest(name: str) -> str | None:
    """A hash of a module's source, or of all of a package's; None for what is installed, which has a version."""
    if name.endswith(".py"):
        file = find_file(name)
        return None if file is None else file_digest(file)
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or spec.origin is None or any(Path(spec.origin).is_relative_to(place) for place in _INSTALLED):
        return None
    places = [Path(place) for place in spec.submodule_search_locations or ()]
    sources = [source for place in places for source in sorted(place.rglob("*.py"))] or [Path(spec.origin)]
    hashes = [f"{source.name} {file_digest(source)}" for source in sources if source.is_file()]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()
