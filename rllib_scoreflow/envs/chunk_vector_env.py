"""What both backends share: spaces, chunk splitting, book-keeping, checks."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import tree
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, create_empty_array
from numpy.typing import NDArray

from rllib_scoreflow.envs.seeding import draw_seed, episode_seed, group_seeds
from rllib_scoreflow.envs.single_env import EnvDims
from rllib_scoreflow.envs.spaces import observation_space
from rllib_scoreflow.errors import SimulatorError
from rllib_scoreflow.observations import STATE, Observation

Float32 = NDArray[np.float32]
Bools = NDArray[np.bool_]
Ids = NDArray[np.int64]
StepResult = tuple[Observation, NDArray[np.float64], Bools, Bools, dict[str, Any]]


@dataclass
class ChunkOutcome:
    """Results of one chunk in every sub environment, filled in by a backend.

    Attributes:
        rewards: float64 [N], summed over the executed steps.
        steps: int64 [N], primitive steps that were executed.
        observations: float32 [N, O], or state and images, last observation before any reset.
        terminated: bool [N].
        truncated: bool [N].
        success: float32 [N], NaN where the environment said nothing.
        episode_metrics: float32 [N] by name, NaN where no episode ended; `report` adds to it.
    """

    rewards: NDArray[np.float64]
    steps: NDArray[np.int64]
    observations: Observation
    terminated: Bools
    truncated: Bools
    success: Float32
    episode_metrics: dict[str, Float32] = field(default_factory=dict)

    def report(self, i: int, success: float, episode_metrics: Mapping[str, float]) -> None:
        """Take what is known of the episode of sub environment `i`, which has ended; NaN: not known."""
        self.success[i] = success
        for name, value in episode_metrics.items():
            column = self.episode_metrics.setdefault(name, np.full_like(self.success, np.nan))
            column[i] = value


class ChunkVectorEnv(VectorEnv[Observation, Float32, NDArray[Any]]):
    """N environments in which one step executes up to `act_steps` primitive steps.

    A sub environment that terminates or is truncated in the middle of a chunk executes none of
    its further actions and is reset in the same call (SAME_STEP); the others go on.

    Observations are float32 [N, O], or, of an environment with cameras, a dictionary of the float32
    [N, O] "state" and the uint8 [N, V, H, W, 3] "images".

    Attributes:
        dims: dimensions of one environment.
        backend: "gymnasium" or "envpool".
        act_steps: primitive steps per chunk.
        horizon: actions per chunk; those after the first `act_steps` are not executed.
        max_episode_steps: time limit in primitive steps, None = none.
        group_size: how many neighbouring sub environments share every seed: their first episodes start alike, their
            second ones too, and so on.
        single_observation_space: Box float32 [O], with cameras a Dict of it and of the images.
        single_action_space: Box float32 [horizon * A], the bounds of one action repeated.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - gymnasium declares it so
        "autoreset_mode": AutoresetMode.SAME_STEP,
        "render_modes": [],
    }
    backend: ClassVar[str]

    def __init__(
        self,
        dims: EnvDims,
        num_envs: int,
        *,
        act_steps: int,
        horizon: int,
        max_episode_steps: int | None,
        seed: int | None,
        group_size: int = 1,
    ) -> None:
        self.dims = dims
        self.group_size = group_size
        self.num_envs = num_envs
        self.act_steps = act_steps
        self.horizon = horizon
        self.max_episode_steps = max_episode_steps
        self.single_observation_space = observation_space(dims.observation_dim, dims.image_shape)
        self.single_action_space = Box(
            np.tile(dims.action_low, horizon), np.tile(dims.action_high, horizon), dtype=np.float32
        )
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._next_seed = seed
        self._seeds: list[int] | None = None
        self._num_episodes = np.zeros(num_envs, np.int64)
        self._all_ids: Ids = np.arange(num_envs)
        # Primitive steps of the running episodes; None until the first reset.
        self._elapsed: NDArray[np.int64] | None = None
        self._observations = self._zero_observations()

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Reset every sub environment.

        Args:
            seed: one integer (spread over the sub environments), one per sub environment, or None:
                the seed given at construction the first time, the running random streams later.
            options: for gymnasium sub environments; EnvPool takes none.

        Returns:
            observations [N, ...] and an empty info.
        """
        if seed is None:
            seed = self._next_seed
        self._next_seed = None
        seeds: list[int] | None = None
        if seed is None and self.group_size > 1:
            seed = draw_seed()
        if isinstance(seed, int | np.integer):
            seeds = group_seeds(int(seed), self.num_envs, self.group_size)
        elif seed is not None and None not in seed:
            seeds = [int(s) for s in seed if s is not None]
            if len(seeds) != self.num_envs:
                raise ValueError(f"{len(seeds)} seeds for {self.num_envs} sub environments")
        observations = self._zero_observations()
        self._seeds, self._num_episodes = seeds, np.ones(self.num_envs, np.int64)
        self._reset_all(observations, seeds, options)
        self._elapsed = np.zeros(self.num_envs, np.int64)
        self._check_finite(observations, np.zeros(self.num_envs))
        self._observations = observations
        return tree.map_structure(np.copy, observations), {}

    def step(self, actions: Float32, *, active: Bools | None = None) -> StepResult:
        """Execute one chunk in every sub environment, or in the active ones.

        Args:
            actions: [N, horizon * A] in the environment's own units; clipped to its bounds.
            active: bool [N]; the others execute nothing and report zero steps.

        Returns:
            observations [N, ...] (after the reset where an episode ended), rewards float64
            [N] summed over the chunk, terminated bool [N], truncated bool [N] (time limit), and
            info: "env_steps" int64 [N] primitive steps executed, "final_obs" [N, ...] last
            observations before any reset, "success" float32 [N] at the end of an episode, NaN
            elsewhere and where the environment does not say, "episode_metrics" dict of float32 [N],
            what the environment put under this name into the info of the step that ended an
            episode, NaN elsewhere (empty where no episode ended or none are reported).

        Raises:
            RuntimeError: before reset, or a non-finite action, naming the sub environment.
            SimulatorError: a non-finite observation or reward, or an exception of the environment.
            InputError: the environment returns something that breaks gymnasium's contract.
        """
        if self._elapsed is None:
            raise RuntimeError("step() before reset()")
        chunks = self._split(actions)
        ids = self._all_ids if active is None else np.flatnonzero(active)
        outcome = ChunkOutcome(
            rewards=np.zeros(self.num_envs),
            steps=np.zeros(self.num_envs, np.int64),
            observations=tree.map_structure(np.copy, self._observations),
            terminated=np.zeros(self.num_envs, np.bool_),
            truncated=np.zeros(self.num_envs, np.bool_),
            success=np.full(self.num_envs, np.nan, np.float32),
        )
        self._run_chunk(chunks, ids, self._elapsed, outcome)
        self._check_finite(outcome.observations, outcome.rewards)
        self._elapsed += outcome.steps
        observations = tree.map_structure(np.copy, outcome.observations)
        finished = np.flatnonzero(outcome.terminated | outcome.truncated)
        if finished.size:
            self._reset_some(finished, observations, self._next_seeds(finished))
            self._elapsed[finished] = 0
        self._observations = observations
        info = {
            "env_steps": outcome.steps,
            "final_obs": outcome.observations,
            "success": outcome.success,
            "episode_metrics": outcome.episode_metrics,
        }
        # Callers store the arrays, the next step starts from ours: hence the copy.
        result = tree.map_structure(np.copy, observations)
        return result, outcome.rewards, outcome.terminated, outcome.truncated, info

    def _next_seeds(self, ids: Ids) -> list[int] | None:
        """Seeds of the next episodes of the sub environments `ids`; None: their running random streams."""
        if self.group_size == 1 or self._seeds is None:
            return None
        seeds = [episode_seed(self._seeds[i], int(self._num_episodes[i])) for i in ids.tolist()]
        self._num_episodes[ids] += 1
        return seeds

    def _zero_observations(self) -> Observation:
        zeros: Any = create_empty_array(self.single_observation_space, self.num_envs, fn=np.zeros)
        observations: Observation = zeros
        return observations

    def _split(self, actions: Float32) -> NDArray[Any]:
        """Return the executed part of the chunks [N, act_steps, A] as the environment takes it, as a copy."""
        shape = (self.num_envs, self.horizon * self.dims.action_dim)
        if np.shape(actions) != shape:
            raise ValueError(f"actions have shape {np.shape(actions)}, expected {shape}")
        chunks = np.reshape(actions, (self.num_envs, self.horizon, self.dims.action_dim))
        executed = np.array(chunks[:, : self.act_steps], dtype=np.float32)
        finite = np.isfinite(executed)
        if not finite.all():
            bad = int(np.flatnonzero(~finite.all(axis=(1, 2)))[0])
            raise RuntimeError(f"non-finite action for sub environment {bad} of {self.dims.name}")
        return self.dims.fit_actions(executed)

    def _check_finite(self, observations: Observation, rewards: NDArray[np.float64]) -> None:
        state = observations[STATE] if isinstance(observations, dict) else observations
        if np.isfinite(state).all() and np.isfinite(rewards).all():
            return
        finite = np.isfinite(state).all(axis=1) & np.isfinite(rewards)
        bad = int(np.flatnonzero(~finite)[0])
        what = "reward" if not np.isfinite(rewards[bad]) else "observation"
        raise SimulatorError(
            f"non-finite {what} from sub environment {bad} of {self.dims.name}; end the episode in the environment "
            "before its simulation diverges"
        )

    @abstractmethod
    def _reset_all(self, observations: Observation, seeds: list[int] | None, options: Mapping[str, Any] | None) -> None:
        """Reset all sub environments and write into `observations` [N, ...]."""

    @abstractmethod
    def _reset_some(self, ids: Ids, observations: Observation, seeds: list[int] | None = None) -> None:
        """Reset the sub environments `ids` and write into their rows of `observations` [N, ...].

        `seeds`, one for each of `ids`, are given where sub environments share them.
        """

    @abstractmethod
    def _run_chunk(self, chunks: NDArray[Any], ids: Ids, elapsed: NDArray[np.int64], outcome: ChunkOutcome) -> None:
        """Execute `chunks` [N, act_steps, A] in the sub environments `ids`; no reset.

        `elapsed` [N] holds the primitive steps that the running episodes had before this chunk.
        """
