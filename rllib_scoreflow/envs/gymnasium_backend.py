"""Chunked vector environment over plain gymnasium environments, one after the other."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.envs.chunk_vector_env import ChunkOutcome, ChunkVectorEnv, Ids
from rllib_scoreflow.envs.contract import CheckedEnv, Env
from rllib_scoreflow.envs.resolve import EnvSource
from rllib_scoreflow.envs.settings import EnvSettings
from rllib_scoreflow.envs.single_env import EnvDims, dims_of, make_single_env
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.observations import IMAGES, STATE, Observation


class GymnasiumChunkEnv(ChunkVectorEnv):
    """N gymnasium environments in this process; see ChunkVectorEnv.

    A whole chunk runs in one sub environment before the next one is touched, which keeps the
    simulator's memory in the cache and needs no masks.

    An environment with cameras whose (unwrapped) object has the attribute `images_wanted: bool` is told
    through it, before each step, whether anyone will look at the images: only those after the last action
    of a chunk, after a step that ends the episode and after a reset have to be rendered.
    """

    backend: ClassVar[str] = "gymnasium"
    # Here and not in the constructor: gymnasium also closes what was refused while it was made.
    envs: Sequence[Env] = ()
    _checked: Sequence[CheckedEnv] = ()

    def __init__(
        self,
        source: EnvSource,
        num_envs: int,
        *,
        act_steps: int,
        horizon: int,
        env_config: Mapping[str, Any],
        max_episode_steps: int | None,
        seed: int | None,
        group_size: int = 1,
    ) -> None:
        settings = EnvSettings.of(env_config)
        self.envs = [make_single_env(source, env_config) for _ in range(num_envs)]
        dims = dims_of(self.envs[0], source, settings.max_episode_steps)
        for i, env in enumerate(self.envs):
            _refuse_other_spaces(dims, dims_of(env, source, settings.max_episode_steps), i, source)
        super().__init__(
            dims,
            num_envs,
            act_steps=act_steps,
            horizon=horizon,
            max_episode_steps=max_episode_steps or dims.max_episode_steps,
            seed=seed,
            group_size=group_size,
        )
        self._checked = [CheckedEnv(env, source.requested_id, settings.success) for env in self.envs]
        self._told_when_to_render = dims.image_shape is not None and hasattr(self.envs[0].unwrapped, "images_wanted")

    def _write(self, observations: Observation, i: int, observation: Any) -> None:
        if isinstance(observations, dict):
            observations[STATE][i] = observation[STATE]
            observations[IMAGES][i] = observation[IMAGES]
        else:
            observations[i] = observation

    def _reset_all(self, observations: Observation, seeds: list[int] | None, options: Mapping[str, Any] | None) -> None:
        env_options = None if options is None else dict(options)
        for i, env in enumerate(self._checked):
            seed = None if seeds is None else seeds[i]
            self._write(observations, i, env.reset(seed=seed, options=env_options))

    def _reset_some(self, ids: Ids, observations: Observation, seeds: list[int] | None = None) -> None:
        for place, i in enumerate(ids.tolist()):
            seed = None if seeds is None else seeds[place]
            self._write(observations, i, self._checked[i].reset(seed=seed))

    def _run_chunk(self, chunks: NDArray[Any], ids: Ids, elapsed: NDArray[np.int64], outcome: ChunkOutcome) -> None:
        limit = self.max_episode_steps
        for i in ids.tolist():
            env, chunk = self._checked[i], chunks[i]
            left = None if limit is None else limit - int(elapsed[i])
            total, terminated, truncated = 0.0, False, False
            steps = 0
            last = min(len(chunk), len(chunk) if left is None else left) - 1
            for action in chunk[:left]:
                if self._told_when_to_render:
                    self.envs[i].unwrapped.images_wanted = steps == last
                observation, reward, terminated, truncated = env.step(action)
                total += reward
                steps += 1
                if terminated or truncated:
                    break
            outcome.rewards[i] = total
            outcome.steps[i] = steps
            self._write(outcome.observations, i, observation)
            outcome.terminated[i] = terminated
            outcome.truncated[i] = truncated = truncated or steps == left
            if terminated or truncated:
                outcome.report(i, env.success(), env.episode_metrics())

    def close_extras(self, **kwargs: Any) -> None:
        """Close the sub environments."""
        for env in self._checked:
            env.close()


def _refuse_other_spaces(first: EnvDims, other: EnvDims, i: int, source: EnvSource) -> None:
    """Refuse an environment that is constructed with other spaces the next time."""
    for what, one, two in (
        ("an observation of length", first.observation_dim, other.observation_dim),
        ("images of shape", first.image_shape, other.image_shape),
        ("lower action bounds", first.action_low.tolist(), other.action_low.tolist()),
        ("upper action bounds", first.action_high.tolist(), other.action_high.tolist()),
    ):
        if one != two:
            raise InputError(
                f"environment {source.requested_id!r} has {what} {one} when it is made first and {two} when it is made "
                f"as number {i + 1}: let its constructor set the same spaces every time, for the same env_config"
            )
