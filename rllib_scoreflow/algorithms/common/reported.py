"""The results that a run reports, so that a stop, a score or a metric that can never come is refused before it runs.

`FlowBCConfig.reported_results()` and `ScoreFlowConfig.reported_results()` declare them; tests compare with real runs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rllib_scoreflow.algorithms.common.rllib_options import OWN_CODE
from rllib_scoreflow.data.catalog import normalized_score
from rllib_scoreflow.errors import InputError

# Numbers that Tune adds to every result.
TUNE_RESULTS = frozenset(
    {"training_iteration", "time_total_s", "time_since_restore", "time_this_iter_s", "iterations_since_restore"}
    | {"timestamp", "num_training_step_calls_per_iteration"}
)
# Those that only grow, among all that any algorithm reports.
GROWING_RESULTS = frozenset(
    {"training_iteration", "time_total_s", "time_since_restore", "iterations_since_restore", "timestamp"}
    | {"epoch", "env_steps", "timesteps_total", "num_env_steps_sampled_lifetime"}
)
# Those that are never below 0 without growing through a whole run.
_COUNTS = frozenset({"gradient_steps", "episodes", "num_episodes", "num_env_steps_sampled", "env_steps_this_iteration"})
_TIMED = ("timers/", "perf/", "learners/__all_modules__/")
_LEARNER = "learners/default_policy"
_SHARES = ("success_rate", "clip_fraction", "explained_variance", "_clip_rate", "_clamp_rate")


@dataclass(frozen=True)
class Reported:
    """Flattened keys of the numbers in a run's results.

    Attributes:
        by: Name of the algorithm.
        names: Keys known by name; some come only in iterations in which there is something to say.
        below: Beginnings of keys whose rest the environment or the machine decides.
        absent: Beginning of keys that are not reported -> why, and what to do instead.
        at_most: Key -> the largest value that it can have.
        growing: Keys that only grow in this run, besides `GROWING_RESULTS`.
        may_be_more: Whether callbacks or a class of the user's own may report others.
    """

    by: str
    names: frozenset[str]
    below: tuple[str, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    at_most: Mapping[str, float] = field(default_factory=dict)
    growing: frozenset[str] = frozenset()
    may_be_more: bool = False

    def has(self, key: str) -> bool:
        """Say whether a key is known to be reported."""
        return key in self.names or any(key.startswith(start) and key != start for start in self.below)

    def why_not(self, key: str) -> str | None:
        """Say why a key is not reported, where that is known."""
        return next((why for start, why in self.absent.items() if key.startswith(start)), None)

    def grows(self, key: str) -> bool:
        """Say whether a key only grows, so that time may be counted in it."""
        return self.has(key) and (key in GROWING_RESULTS | self.growing or key.endswith("_lifetime"))

    def counts(self, key: str) -> bool:
        """Say whether a key counts something, or measures time, so that it is never below 0."""
        last = key.rpartition("/")[2]
        return self.grows(key) or (self.has(key) and (last in _COUNTS or last.endswith(("_seconds", "_iter_s"))))


def episode_results(returns: Sequence[float], lengths: Sequence[int]) -> dict[str, float]:
    """Return and length of episodes under RLlib's names (`episode_return_mean`, ...).

    Args:
        returns: Undiscounted, one for each of at least one episode.
        lengths: Environment steps.
    """
    return {
        f"episode_{what}_{name}": float(reduce(values))
        for what, values in (("return", returns), ("len", lengths))
        for name, reduce in (("mean", np.mean), ("min", np.min), ("max", np.max))
    }


EPISODE_RESULTS = frozenset(episode_results([0.0], [0]))


def own_results(
    config: Any,
    algorithm: str,
    *,
    plain: Iterable[str],
    learner: Iterable[str],
    below: tuple[str, ...] = (),
    absent: Mapping[str, str],
) -> Reported:
    """The results of one of this package's algorithms.

    Args:
        config: Its config.
        algorithm: Its name.
        plain: Keys of its own.
        learner: Names that the Learners report; they are below `learners/default_policy/` too.
        below: Beginnings of keys of its own.
        absent: As in `Reported`.
    """
    names = {*TUNE_RESULTS, *plain, *(f"{_LEARNER}/{name}" for name in learner)}
    below, absent = (*below, *_TIMED), dict(absent)
    if config.evaluation_interval and config.env is not None:
        names |= _evaluation_results(config)
        below = (*below, "eval_episode/", "evaluation/metrics/", "evaluation/metric_stderrs/")
        if normalized_score(str(config.env), 0.0) is not None and not _is_scored(config):
            other = "D4RL's score is that of its own task, and env_config or max_episode_steps make another one of it"
            absent |= {"eval_normalized_score": other, "evaluation/normalized_score": other}
    else:
        off = "evaluations are off; set evaluation_interval in `config`" + ("" if config.env else ", and `env`")
        absent |= {"eval_": off, "evaluation/": off}
    shares = {name for name in names if name.endswith(_SHARES)}
    return Reported(
        algorithm,
        frozenset(names),
        below,
        absent,
        at_most=dict.fromkeys(shares, 1.0),
        may_be_more=has_own_parts(config),
    )


def has_own_parts(config: Any) -> bool:
    """Whether callbacks or classes of the user's own are set, which may add results of their own."""
    # Late: the names above are asked for before RLlib is needed, which takes seconds to import.
    from ray.rllib.callbacks.callbacks import RLlibCallback
    from ray.rllib.utils import force_list

    functions = [value for name, value in vars(config).items() if name.startswith("callbacks_on_")]
    classes = [each for each in force_list(config.callbacks_class) if each is not RLlibCallback]
    default = {} if config.algo_class is None else vars(config.algo_class.get_default_config())
    parts = [getattr(config, name) for name in OWN_CODE if getattr(config, name) != default.get(name)]
    parts = [part for part in parts if not str(getattr(part, "__module__", "")).startswith("rllib_scoreflow.")]
    return bool(classes) or any(value is not None for value in (*functions, *parts))


def _evaluation_results(config: Any) -> set[str]:
    names = {"return_mean", "episodes", "success_rate"}
    if config.evaluation_duration != 1:
        names.add("return_stderr")
    if _is_scored(config):
        names.add("normalized_score")
    full = names | {"env_steps", "length_mean", "seed", "success_stderr"}
    episodes = {*EPISODE_RESULTS, "num_episodes", "num_env_steps_sampled"}
    return {
        *(f"eval_{name}" for name in names),
        *(f"evaluation/{name}" for name in full),
        *(f"evaluation/env_runners/{name}" for name in episodes),
    }


def _is_scored(config: Any) -> bool:
    """Whether evaluations have D4RL's score, as far as the config alone says what is played."""
    # Late: gymnasium takes its time, too.
    from rllib_scoreflow.algorithms.common.options import overlay_env_config
    from rllib_scoreflow.envs import EnvSettings, is_standard, resolve_env

    if normalized_score(str(config.env), 0.0) is None:
        return False
    env_config = overlay_env_config({}, config)
    try:
        source, settings = resolve_env(str(config.env)), EnvSettings.of(env_config)
    except InputError:  # validate() says it
        return True
    return is_standard(source, env_config, settings.max_episode_steps or source.spec.max_episode_steps)
