"""Which results a run can stop on, keep checkpoints by, or be compared by: known before it starts."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from rllib_scoreflow.algorithms.common.reported import EPISODE_RESULTS, TUNE_RESULTS, Reported, has_own_parts
from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.experiments.renames.results import OLD_KEYS, TRAINED, todays_key
from rllib_scoreflow.suggest import nearest

_SAMPLED = {
    "num_env_steps_sampled", "num_env_steps_sampled_lifetime", "num_episodes", "num_episodes_lifetime", "sample",
    "episode_duration_sec_mean", "env_reset_timer", "env_step_timer", "rlmodule_inference_timer", "weights_seq_no",
    "time_between_sampling", "env_to_module_sum_episodes_length_in", "env_to_module_sum_episodes_length_out",
    *EPISODE_RESULTS,
}  # fmt: skip
_SAMPLED_BELOW = (
    "agent_episode_return_mean/", "agent_episode_returns_mean/", "module_episode_return_mean/",
    "module_episode_returns_mean/", "agent_steps/", "env_to_module_connector/", "module_to_env_connector/",
    "num_agent_steps_sampled/", "num_agent_steps_sampled_lifetime/", "num_module_steps_sampled/",
    "num_module_steps_sampled_lifetime/", "num_env_steps_sampled_lifetime_throughput/",
)  # fmt: skip
_GROUPS_BELOW = (
    "learners/", "timers/", "perf/", "replay_buffer/", "aggregator_actors/", "learner_group/", "connectors/",
    "differentiable_learners/",
)  # fmt: skip
_COUNTERS = {
    "env_runner_group/actor_manager_num_outstanding_async_reqs", "fault_tolerance/num_healthy_workers",
    "fault_tolerance/num_env_runners_dropped_lifetime", "fault_tolerance/num_remote_worker_restarts",
    "num_env_steps_sampled_lifetime",
}  # fmt: skip


def reported_results(config: Any, algorithm: type[Any]) -> Reported:
    """Return the results that a run reports.

    Args:
        config: a config of the algorithm, not necessarily validated.
        algorithm: its Algorithm class.
    """
    own = getattr(config, "reported_results", None)
    foreign = not algorithm.__module__.startswith(("ray.rllib.", "rllib_scoreflow."))
    if own is not None:
        found: Reported = own()
        return replace(found, may_be_more=found.may_be_more or foreign)
    old_stack = not config.enable_env_runner_and_connector_v2
    names: set[str] = {*TUNE_RESULTS}
    below: tuple[str, ...] = _GROUPS_BELOW
    absent: dict[str, str] = {}
    if config.is_online:
        names |= {*_COUNTERS, *(f"env_runners/{name}" for name in _SAMPLED)}
        below += tuple(f"env_runners/{start}" for start in _SAMPLED_BELOW)
    else:
        why = f"{algorithm.__name__} learns offline and samples nothing"
        absent |= dict.fromkeys(("env_runners/", "num_env_steps_sampled"), why)
        names.add(TRAINED)
    if config.evaluation_interval:
        names |= {f"evaluation/env_runners/{name}" for name in _SAMPLED}
        below += tuple(f"evaluation/env_runners/{start}" for start in _SAMPLED_BELOW)
        below += ("evaluation/offline_eval_runners/",)
    elif config.offline_evaluation_interval:
        below += ("evaluation/offline_eval_runners/",)
    else:
        absent["evaluation/"] = "evaluations are off; set evaluation_interval in `config`"
    more = foreign or old_stack or has_own_parts(config) or config.custom_evaluation_function is not None
    return Reported(algorithm.__name__, frozenset(names), below, absent, may_be_more=more)


class ResultKeys:
    """The results that every one of an experiment's trials reports.

    Args:
        each: of every combination of its grid that is looked at.
    """

    def __init__(self, each: Iterable[Reported]) -> None:
        self._each = list(each)

    def current_key(self, key: str, what: str) -> str:
        """Return the key as it is called now.

        Args:
            key: a flattened result key.
            what: the start of the message, such as ``x.yaml: exp: stop.env_step``.

        Raises:
            InputError: some trial never reports it.
        """
        for reported in self._each:
            refusal = _refusal(key, reported)
            if refusal is not None:
                raise InputError(f"{what} {refusal}")
        # An old name is taken as it is where it is reported itself.
        kept = all(reported.has(key) for reported in self._each)
        return key if kept or not self._each else _todays(key, self._each[0])

    def check_reachable(self, key: str, value: float, what: str) -> None:
        """Refuse a stop that a result with a bound, such as a share, never reaches, or that every count has reached.

        Args:
            key: from `today`.
            value: at which a trial is to end.
            what: the start of the message.

        Raises:
            InputError: it is more than the result can be, or at or below 0 for a result that counts.
        """
        if value <= 0 and any(reported.counts(key) for reported in self._each):
            raise InputError(
                f"{what} is {value:g}, which the first result has already reached, as {key} counts from 0; give a "
                "number above 0."
            )
        for reported in self._each:
            most = reported.at_most.get(key)
            if most is not None and value > most:
                raise InputError(f"{what} is {value:g} and {key} never more than {most:g}; give less.")

    def grows(self, key: str) -> bool:
        """Say whether a key only grows in all trials; not known to shrink is enough where others may report it."""
        return all(reported.grows(key) or (reported.may_be_more and not reported.has(key)) for reported in self._each)


def _todays(key: str, reported: Reported) -> str:
    return todays_key(key, offline=TRAINED in reported.names)


def _refusal(key: str, reported: Reported) -> str | None:
    today = _todays(key, reported)
    if reported.has(key) or reported.has(today):
        return None
    why = reported.why_not(key) or reported.why_not(today)
    if why is not None:
        return f"is no result of {reported.by}: {why}."
    guess = _nearest(key, reported)
    if guess is not None:
        return f"is no result of {reported.by}; did you mean {guess!r}?"
    if reported.may_be_more:
        return None
    return f"is no result of {reported.by} and never comes; take {_usual(reported)} or another that it reports."


def _nearest(key: str, reported: Reported) -> str | None:
    """The reported key that a key may be a slip of; it must be more alike where others may be reported too."""
    known = {*reported.names, *(old for old, new in OLD_KEYS.items() if reported.has(new))}
    if not reported.may_be_more:
        return nearest(key, known)
    group, _, last = key.rpartition("/")
    beside = {name.rpartition("/")[2]: name for name in known if name.rpartition("/")[0] == group}
    guess = nearest(last, beside, cutoff=0.85 if group else 0.6)
    return None if guess is None else beside[guess]


def _usual(reported: Reported) -> str:
    usual = ("return_mean", "env_runners/episode_return_mean", "train_loss", "time_total_s")
    return "'training_iteration', " + quote(next(name for name in usual if reported.has(name)))
