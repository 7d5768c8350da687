"""Results by which a run stops, keeps checkpoints or compares trials, as the old API stack called them."""

import re
from collections.abc import Mapping

from rllib_scoreflow.algorithms.common.reported import EPISODE_RESULTS

_SAMPLED = "num_env_steps_sampled_lifetime"
# Steps of a dataset, or of rollouts, counted as often as they are learnt from.
TRAINED = "learners/__all_modules__/num_env_steps_trained_lifetime"
_STEPS = [f"{before}num{unit}_steps" for before in ("", "info/") for unit in ("", "_env", "_agent")]
# Names of the old API stack, and what they are called now.
OLD_KEYS: Mapping[str, str] = {
    "timesteps_total": _SAMPLED,
    "agent_timesteps_total": _SAMPLED,
    **{f"{steps}_sampled": _SAMPLED for steps in _STEPS},
    **{f"{steps}_trained": TRAINED for steps in _STEPS},
    "episodes_total": "env_runners/num_episodes_lifetime",
    **{
        f"{before}{old}": f"{after}{new}"
        for before, after in (
            ("", "env_runners/"),
            ("env_runners/", "env_runners/"),
            ("sampler_results/", "env_runners/"),
            ("evaluation/", "evaluation/env_runners/"),
            ("evaluation/env_runners/", "evaluation/env_runners/"),
            ("evaluation/sampler_results/", "evaluation/env_runners/"),
        )
        for old, new in (
            *((f"episode_reward_{kind}", f"episode_return_{kind}") for kind in ("mean", "min", "max")),
            *((name, name) for name in sorted(EPISODE_RESULTS)),
        )
        if before + old != after + new
    },
}
_LEARNER_STATS = re.compile(r"info/learner/(?P<module>[^/]+)/learner_stats/(?P<name>.+)")
_POLICY_RETURN = re.compile(r"(?:sampler_results/|env_runners/)?policy_reward_mean/(?P<module>.+)")
_STATS: Mapping[str, str] = {
    "kl": "mean_kl_loss",
    "cur_kl_coeff": "curr_kl_coeff",
    "entropy_coeff": "curr_entropy_coeff",
    "cur_lr": "default_optimizer_learning_rate",
    "grad_gnorm": "gradients_default_optimizer_global_norm",
    "mean_q": "qf_mean",
}


def todays_key(key: str, *, offline: bool = False) -> str:
    """Return what a result is called now; the key itself where nothing is known of it.

    Args:
        key: a flattened result key.
        offline: of an algorithm that samples nothing, whose steps are those that it learns from.
    """
    if key in OLD_KEYS:
        return TRAINED if offline and OLD_KEYS[key] == _SAMPLED else OLD_KEYS[key]
    if (found := _LEARNER_STATS.fullmatch(key)) is not None:
        return f"learners/{found['module']}/{_STATS.get(found['name'], found['name'])}"
    if (found := _POLICY_RETURN.fullmatch(key)) is not None:
        return f"env_runners/module_episode_return_mean/{found['module']}"
    return key
