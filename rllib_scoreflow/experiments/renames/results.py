"""Results by which a run stops, keeps checkpoints or compares trials, as the old API stack called them."""

from collections.abc import Mapping

from rllib_scoreflow.algorithms.common.reported import EPISODE_RESULTS

# Names of the old API stack, and what they are called now.
OLD_KEYS: Mapping[str, str] = {
    "timesteps_total": "num_env_steps_sampled_lifetime",
    "num_env_steps_sampled": "num_env_steps_sampled_lifetime",
    "agent_timesteps_total": "num_env_steps_sampled_lifetime",
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
