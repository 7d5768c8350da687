"""A policy's episodes as a dataset: every step's observation, executed action and reward."""

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.data.schema import Bool, Float32, RawColumns, UInt8
from rllib_scoreflow.envs import EnvSettings, make_single_env, require_time_limit, resolve_env, sub_env_seeds
from rllib_scoreflow.envs.contract import CheckedEnv, close_env
from rllib_scoreflow.envs.seeding import episode_seed
from rllib_scoreflow.envs.single_env import EnvDims, dims_of
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.evaluation.evaluate import Act
from rllib_scoreflow.interface import check_act_steps
from rllib_scoreflow.observations import IMAGES, STATE, Observation


@dataclass(frozen=True, eq=False)
class RecordedEpisodes:
    """What was played.

    Attributes:
        columns: N steps in E episodes.
        success: [E] bool, or None where the environment does not say.
    """

    columns: RawColumns
    success: Bool | None


def record_episodes(
    act: Act,
    env_id: str,
    *,
    episodes: int,
    seed: int,
    act_steps: int,
    horizon: int,
    scratch: Path,
    fps: int | None = None,
    env_config: Mapping[str, Any] | None = None,
    progress: Callable[[], None] = lambda: None,
) -> RecordedEpisodes:
    """Play episodes one after another in one environment, and keep all of them.

    Args:
        act: observations [1, ...] -> [1, horizon * A], raw units.
        env_id: D4RL dataset id, gymnasium id or "module:EnvId".
        episodes: how many.
        seed: of the initial states.
        act_steps: primitive steps executed per chunk.
        horizon: actions per chunk.
        scratch: folder in which a file without a name holds the images for as long as the columns live.
        fps: steps per second; None: as the environment's `render_fps` says.
        env_config: keyword arguments of the environment and the keys of EnvSettings.
        progress: called after every episode.

    Raises:
        InputError: the environment cannot be made, has no time limit or frame rate, or breaks gymnasium's contract.
        SimulatorError: the environment raises an exception.
    """
    check_act_steps(act_steps, horizon)
    source, settings = resolve_env(env_id), EnvSettings.of(env_config)
    env = make_single_env(source, env_config)
    try:
        dims = dims_of(env, source, settings.max_episode_steps)
        limit = require_time_limit(env_id, dims.max_episode_steps)
        rate = frames_per_second(fps, env.metadata.get("render_fps"), f"environment {env_id}")
        checked, first = CheckedEnv(env, env_id, settings.success), sub_env_seeds(seed, 1)[0]
        with tempfile.TemporaryFile(dir=scratch) as images:
            log = _Log(dims, images)
            for number in range(episodes):
                observation = checked.reset(seed=first if number == 0 else episode_seed(first, number))
                log.play(act, checked, observation, act_steps=act_steps, horizon=horizon, limit=limit)
                progress()
            return log.collect(env_id, dict(env_config or {}), float(rate))
    finally:
        close_env(env, env_id)


@dataclass(eq=False)
class _Log:
    """Lists of what was seen, a value for every step, and the images in a file."""

    dims: EnvDims
    images: IO[bytes]
    observations: list[Float32] = field(default_factory=list)
    actions: list[Float32] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    terminals: list[bool] = field(default_factory=list)
    timeouts: list[bool] = field(default_factory=list)
    final: list[Float32] = field(default_factory=list)
    successes: list[float] = field(default_factory=list)

    def play(self, act: Act, env: CheckedEnv, observation: Any, *, act_steps: int, horizon: int, limit: int) -> None:
        steps, ended = 0, False
        while not ended:
            chunk = np.asarray(act(self._batch_of_one(observation)), np.float32).reshape(horizon, self.dims.action_dim)
            for action in self.dims.fit_actions(chunk[:act_steps]):
                self._see(observation)
                observation, reward, terminated, truncated = env.step(action)
                steps += 1
                ended = terminated or truncated or steps >= limit
                self.actions.append(np.asarray(action, np.float32))
                self.rewards.append(reward)
                self.terminals.append(terminated)
                self.timeouts.append(ended and not terminated)
                if ended:
                    break
        self.final.append(self._state(observation))
        self.successes.append(env.success())

    def _state(self, observation: Any) -> Float32:
        return np.array(observation if self.dims.image_shape is None else observation[STATE], np.float32)

    def _see(self, observation: Any) -> None:
        self.observations.append(self._state(observation))
        if self.dims.image_shape is not None:
            self.images.write(np.ascontiguousarray(observation[IMAGES]).tobytes())

    def _batch_of_one(self, observation: Any) -> Observation:
        state = self._state(observation)[None]
        return state if self.dims.image_shape is None else {STATE: state, IMAGES: np.asarray(observation[IMAGES])[None]}

    def collect(self, env_id: str, env_config: dict[str, Any], fps: float) -> RecordedEpisodes:
        successes = np.array(self.successes)
        return RecordedEpisodes(
            RawColumns(
                observations=np.stack(self.observations),
                actions=np.stack(self.actions),
                rewards=np.array(self.rewards, np.float32),
                terminals=np.array(self.terminals),
                timeouts=np.array(self.timeouts),
                final_observations=np.stack(self.final),
                env_id=env_id,
                env_config=env_config,
                cameras=self._cameras(),
                images=self._mapped_images(),
                fps=fps,
            ),
            None if np.isnan(successes).any() else successes > 0.5,
        )

    def _cameras(self) -> tuple[str, ...]:
        shape = self.dims.image_shape
        return self.dims.cameras or (() if shape is None else tuple(f"camera_{view}" for view in range(shape[0])))

    def _mapped_images(self) -> UInt8 | None:
        if self.dims.image_shape is None:
            return None
        self.images.flush()
        shape = (len(self.rewards), *self.dims.image_shape)
        mapped: NDArray[np.uint8] = np.memmap(self.images, np.uint8, "r", shape=shape)
        return mapped


def frames_per_second(given: int | None, known: float | None, what: str) -> int:
    """Return the frame rate of a recording.

    Args:
        given: what the user says.
        known: what the recording says.
        what: whose it is, for the message.

    Raises:
        InputError: neither says one, or what the recording says is no whole number.
    """
    rate = given if given is not None else known
    if rate is None:
        raise InputError(f"{what} does not say how many steps it makes in a second; give --fps N")
    if not math.isclose(rate, round(rate), rel_tol=1e-6) or round(rate) < 1:
        raise InputError(f"{what} makes {rate:g} steps in a second, and the format takes whole numbers; give --fps N")
    return round(rate)
