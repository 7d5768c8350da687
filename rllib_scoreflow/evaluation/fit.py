"""Whether a policy fits an environment."""

from typing import TYPE_CHECKING

from rllib_scoreflow.data import dimension_outside
from rllib_scoreflow.envs import EnvDims
from rllib_scoreflow.errors import InputError

if TYPE_CHECKING:
    from rllib_scoreflow.policy import FlowPolicy


def check_policy_fits(policy: "FlowPolicy", dims: EnvDims, owner: str, env_id: str) -> None:
    """Refuse a policy that cannot act in an environment.

    Args:
        policy: the policy; the bounds of its actions are those of its dataset.
        dims: the environment's dimensions.
        owner: what to call the policy in the message.
        env_id: what to call the environment.

    Raises:
        InputError: observations, actions or images are of other dimensions, or its actions lie clearly outside the
            environment's bounds.
    """
    config = policy.config
    found = (config.observation_dim, config.action_dim)
    if found != (dims.observation_dim, dims.action_dim):
        raise InputError(
            f"{owner} has {found[0]} observation and {found[1]} action dimensions, the environment '{env_id}' has "
            f"{dims.observation_dim} and {dims.action_dim}; choose the policy of this task."
        )
    if config.image_shape != dims.image_shape:
        raise InputError(
            f"{owner} sees images of shape {config.image_shape} (cameras, height, width, 3), the environment "
            f"'{env_id}' gives {dims.image_shape}; set 'env_config' alike."
        )
    low, high = (bound.numpy() for bound in (policy.action_normalizer.low, policy.action_normalizer.high))
    dim = dimension_outside(low, high, dims.action_low, dims.action_high)
    if dim is not None:
        raise InputError(
            f"{owner} acts from {low[dim]:g} to {high[dim]:g} in dimension {dim}, outside the bounds "
            f"{dims.action_low[dim]:g} to {dims.action_high[dim]:g} of the environment '{env_id}'; choose the "
            "environment that its dataset was recorded on, or rescale the actions in a wrapper of it."
        )
