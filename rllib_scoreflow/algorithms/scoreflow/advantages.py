"""Whether the options of a `ScoreFlowConfig` fit its advantage estimator."""

from typing import Any

from rllib_scoreflow.algorithms.scoreflow.options import ScoreFlowOptions
from rllib_scoreflow.errors import InputError, quote
from rllib_scoreflow.flow.advantages import ESTIMATORS, needs_critic, needs_groups

_OF_THE_CRITIC = (
    "vf_loss_coeff", "lambda_", "critic_lr", "critic_lr_min", "critic_weight_decay", "critic_hidden_dim",
    "critic_num_layers", "critic_output_bias", "critic_warmup_iterations",
)  # fmt: skip


def check_advantages(config: Any) -> None:
    """Refuses an unknown estimator, and options that do not fit it.

    Raises:
        InputError: On the first one.
    """
    name = config.advantages
    estimator = ESTIMATORS.choose(name)
    if not needs_critic(estimator):
        defaults = ScoreFlowOptions.defaults()
        for option in _OF_THE_CRITIC:
            value = getattr(config, option)
            if value != defaults[option]:
                raise InputError(
                    f"Option '{option}' ({quote(value)}) has no effect with advantages: {name}, which have no critic; "
                    "leave it out."
                )
    size, envs = config.group_size, config.num_envs_per_env_runner
    if not needs_groups(estimator):
        if size is not None:
            raise InputError(
                f"Option 'group_size' ({size}) has no effect with advantages: {name}; leave it out, or set advantages: "
                "group."
            )
        return
    if size is None:
        raise InputError(
            f"advantages: {name} compares episodes from one reset seed; set 'group_size', how many of them, to a "
            f"divisor of num_envs_per_env_runner ({envs})."
        )
    if envs % size:
        raise InputError(
            f"Option 'num_envs_per_env_runner' ({envs}) must be a multiple of 'group_size' ({size}); change one of "
            "them."
        )
