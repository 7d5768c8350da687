"""Experiments from Python files: those with a variable `config`, and the example scripts of Ray's RLlib.

An example of Ray builds its config below ``if __name__ == "__main__"`` and hands it to RLlib's
`run_rllib_example_script_experiment`, which lays the script's arguments over it and calls Tune. Such a script is run
as far as that: what Tune was to get is the experiment.
"""

import contextlib
import io
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

from rllib_scoreflow.envs.contract import reason_of
from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.experiments.example_scripts import main_block, training_calls, trains_once
from rllib_scoreflow.experiments.settings import ExperimentSettings
from rllib_scoreflow.experiments.yaml import read_text

_AS_MODULE, _AS_SCRIPT = "rllib_experiment_file", "__main__"
# Result key -> the argument of an example's parser that says when to stop, as RLlib's function takes them.
_STOPS = {
    "env_runners/episode_return_mean": "stop_reward",
    "env_runners/num_env_steps_sampled_lifetime": "stop_timesteps",
    "training_iteration": "stop_iters",
}


def read_python(path: Path) -> dict[str, dict[str, Any]]:
    """Run a Python file and return its experiment, name -> raw keys.

    Args:
        path: of the file. Its own argument parser finds nothing but the file's name.

    Returns:
        One raw experiment with ``_base`` (AlgorithmConfig) and ``_source``.

    Raises:
        InputError: the file fails, trains by itself, or has no config.
    """
    text = read_text(path)
    raw = _read_variables(path) or _read_example(path, text)
    return {path.stem: {**raw, "_source": text}}


def _read_variables(path: Path) -> dict[str, Any] | None:
    """The experiment of a file with a variable `config`, and others named as the keys of an experiment; else None."""
    names = _run(path, _AS_MODULE)
    config = names.get("config")
    if config is None:
        return None
    if not hasattr(config, "algo_class") or not hasattr(config, "update_from_dict"):
        raise InputError(
            f"{path} has a `config` of type {type(config).__name__}; set `config` to an AlgorithmConfig such as "
            "PPOConfig()."
        )
    raw: dict[str, Any] = {"run": config.algo_class, "_base": config}
    if "stop" not in names:
        raw |= _stop_of(names.get("args"))
    keys = set(ExperimentSettings.model_fields) - {"run", "config", "env"}
    return raw | {key: names[key] for key in sorted(keys) if key in names}


def _stop_of(arguments: Any) -> dict[str, Any]:
    """When a file stops that leaves it to the parser of RLlib's examples."""
    if not all(hasattr(arguments, name) for name in _STOPS.values()):
        return {}
    return {"stop": {key: getattr(arguments, name) for key, name in _STOPS.items()}}


def _read_example(path: Path, text: str) -> dict[str, Any]:
    """The experiment that one of RLlib's example scripts hands to Tune.

    Raises:
        InputError: the file is no such script, or does more than that.
    """
    main = main_block(text)
    if not training_calls(main):
        has = "trains by itself" if main else "has no variable `config`"
        remedy = f"run it with `python {path}`, or set" if main else "set"
        raise InputError(f"{path} {has}; {remedy} `config` to an AlgorithmConfig such as PPOConfig().")
    if not trains_once(text):
        raise InputError(
            f"{path} does more than one training, and this command would leave the rest out; run it with "
            f"`python {path}`."
        )
    try:
        with _in_place_of_tune():
            _run(path, _AS_SCRIPT)
    except _HandedToTune as handed:
        return _experiment_of(handed, path)
    raise InputError(f"{path} ended without a training; run it with `python {path}`.")


class _HandedToTune(BaseException):
    """Ends a script where it calls Tune; no `except Exception` of the script holds it up.

    Attributes:
        trainable: the algorithm.
        given: the other arguments of Tune's Tuner.
    """

    def __init__(self, trainable: Any, given: dict[str, Any]) -> None:
        super().__init__()
        self.trainable = trainable
        self.given = given


@contextlib.contextmanager
def _in_place_of_tune() -> Iterator[None]:
    """Let RLlib's function for examples end in `_HandedToTune` where it calls Tune, and start no Ray before."""
    import torch
    from ray import tune
    from ray.rllib.examples import utils

    def hand_over(trainable: Any = None, **given: Any) -> NoReturn:
        raise _HandedToTune(trainable, given)

    ray, resources = utils.ray, {"GPU": float(torch.cuda.device_count())}
    utils.ray = SimpleNamespace(init=lambda **_: None, shutdown=lambda: None, cluster_resources=lambda: resources)
    utils.tune = SimpleNamespace(**{**vars(tune), "Tuner": hand_over})
    try:
        yield
    finally:
        utils.ray, utils.tune = ray, tune


def _experiment_of(handed: _HandedToTune, path: Path) -> dict[str, Any]:
    run, tuning = handed.given["run_config"], handed.given["tune_config"]
    config = handed.given["param_space"]
    own = {"a scheduler": tuning.scheduler, "callbacks": run.callbacks}
    other = [what for what, value in own.items() if value]
    if not hasattr(config, "algo_class") or not isinstance(handed.trainable, type):
        other.append("a trainable that is no RLlib algorithm")
    if other:
        raise InputError(f"{path} gives Tune {other[0]} of its own; run it with `python {path}`.")
    raw = {"run": handed.trainable, "_base": config, "stop": dict(run.stop), "num_samples": tuning.num_samples}
    if tuning.max_concurrent_trials is not None:
        raw["max_concurrent_trials"] = tuning.max_concurrent_trials
    return raw


def _run(path: Path, name: str) -> dict[str, Any]:
    """Run a file with nothing but its own name for its argument parser; what it defines.

    Raises:
        InputError: it fails, or ends the process.
    """
    import ray

    was_running = ray.is_initialized()
    arguments, said = sys.argv, io.StringIO()
    sys.argv = [str(path)]
    try:
        with contextlib.redirect_stderr(_Both(sys.stderr, said)):
            names = runpy.run_path(str(path), run_name=name)
    except InputError:
        raise
    except SystemExit as error:
        usage = said.getvalue().strip().splitlines()
        reason = f": {shorten(usage[-1])}" if usage and "error:" in usage[-1] else f" (SystemExit: {error.code})"
        raise InputError(
            f"{path} ends when it is run without arguments{reason}; give its arguments defaults."
        ) from error
    except Exception as error:
        raise InputError(f"{path} failed when it was run: {reason_of(error)}.") from error
    finally:
        sys.argv = arguments
        started = ray.is_initialized() and not was_running
        if started:
            ray.shutdown()
    if started:
        raise InputError(f"{path} starts Ray itself, as this command does; take `ray.init()` out of it.")
    return names


class _Both(io.TextIOBase):
    """Keeps what a file says of its arguments, and passes on the rest."""

    def __init__(self, stream: Any, kept: io.StringIO) -> None:
        self._stream, self._kept = stream, kept

    def write(self, text: str) -> int:
        """Keeps a usage of argparse, which is told in one sentence, and writes everything else."""
        usage = text.startswith("usage: ") or ": error: " in text
        return (self._kept if usage else self._stream).write(text)

    def flush(self) -> None:
        """Flushes the stream."""
        self._stream.flush()
