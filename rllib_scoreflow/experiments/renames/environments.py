"""Environment ids that Gymnasium retired, and Ray's example environments that moved to another module."""

from collections.abc import Mapping

_MUJOCO = ("Ant", "HalfCheetah", "Hopper", "Humanoid", "HumanoidStandup", "InvertedDoublePendulum", "InvertedPendulum",
           "Pusher", "Reacher", "Swimmer", "Walker2d")  # fmt: skip
# Registered by these, the MuJoCo ids up to -v3 need mujoco-py, which no current Python takes, and only raise.
_KEEPERS = ("gymnasium.", "gymnasium_robotics.")
RETIRED_IDS: Mapping[str, str] = {
    **{f"{name}-v{old}": f"{name}-v5" for name in _MUJOCO for old in (0, 1, 2, 3)},
    "Pendulum-v0": "Pendulum-v1",
    "LunarLander-v2": "LunarLander-v3",
    "LunarLanderContinuous-v2": "LunarLanderContinuous-v3",
    "BipedalWalker-v2": "BipedalWalker-v3",
    "BipedalWalkerHardcore-v2": "BipedalWalkerHardcore-v3",
    "CarRacing-v0": "CarRacing-v3",
    "CarRacing-v1": "CarRacing-v3",
    "CarRacing-v2": "CarRacing-v3",
    "FrozenLake-v0": "FrozenLake-v1",
    "FrozenLake8x8-v0": "FrozenLake8x8-v1",
    "Taxi-v2": "Taxi-v3",
    "Blackjack-v0": "Blackjack-v1",
    "CliffWalking-v0": "CliffWalking-v1",
}
# Start of a dotted path, of an environment or of another class -> what it is now. The longest start that fits counts.
MOVED_MODULES: Mapping[str, str] = {
    "ray.rllib.examples.env.multi_agent": "ray.rllib.examples.envs.classes.multi_agent",
    "ray.rllib.examples.env": "ray.rllib.examples.envs.classes",
    "ray.rllib.examples.multi_agent_and_self_play.policy_mapping_fn.PolicyMappingFn": (
        "rllib_scoreflow.experiments.translation.agents.name_by_number"
    ),
    "ray.rllib.examples.multi_agent_and_self_play": "ray.rllib.examples.multi_agent.utils",
    "ray.rllib.agents.callbacks.DefaultCallbacks": "ray.rllib.callbacks.callbacks.RLlibCallback",
    "ray.rllib.algorithms.callbacks.DefaultCallbacks": "ray.rllib.callbacks.callbacks.RLlibCallback",
}


def current_environment(env: str) -> str:
    """Return what an environment is called now; the same where nothing is known of it.

    Args:
        env: an id, with or without ``module:``, or a dotted class path.
    """
    module, colon, name = env.rpartition(":")
    if name in RETIRED_IDS and not _can_be_made(name):
        return f"{module}{colon}{RETIRED_IDS[name]}"
    return current_module(env)


def current_module(path: str) -> str:
    """Return a dotted path with what has moved in Ray replaced.

    Args:
        path: of a class or function.
    """
    for start in sorted(MOVED_MODULES, key=len, reverse=True):
        if path == start or path.startswith(f"{start}."):
            return MOVED_MODULES[start] + path[len(start) :]
    return path


def _can_be_made(name: str) -> bool:
    """Whether the user's own code registers the old id."""
    import gymnasium as gym

    spec = gym.registry.get(name)
    if spec is None or spec.entry_point is None:
        return False
    module = spec.entry_point if isinstance(spec.entry_point, str) else spec.entry_point.__module__
    return not module.startswith(_KEEPERS)
