"""Chunked vector environment over EnvPool, for the locomotion tasks whose parity is tested."""

import importlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.envs.chunk_vector_env import ChunkOutcome, ChunkVectorEnv, Ids
from rllib_scoreflow.envs.envpool_assets import write_models_with_half_margins
from rllib_scoreflow.envs.resolve import EnvSource
from rllib_scoreflow.envs.seeding import sub_env_seeds
from rllib_scoreflow.envs.settings import MAX_EPISODE_STEPS, SUCCESS_RULE
from rllib_scoreflow.envs.single_env import env_dims
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.observations import Observation

# Tasks in which EnvPool was found to follow gymnasium to rounding errors (tests/envs).
PARITY_TESTED = frozenset(
    f"{robot}-{version}"
    for robot in ("Hopper", "Walker2d", "HalfCheetah", "Ant", "Humanoid")
    for version in ("v4", "v5")
)
_NO_LIMIT = 2**31 - 1
# Keys of `env_config` that EnvPool is not given: the limit is kept here, and none of the tasks reports success.
_OWN_KEYS = frozenset({MAX_EPISODE_STEPS, SUCCESS_RULE})


def load_envpool() -> Any | None:
    """Return the module envpool, None if it is not installed or does not load here."""
    try:
        return importlib.import_module("envpool")
    except (ImportError, OSError):  # OSError: its folder is incomplete
        return None


def refusal(source: EnvSource, env_config: Mapping[str, Any]) -> str | None:
    """Say why EnvPool cannot run this environment, None if it can."""
    if source.env_id not in PARITY_TESTED:
        return f"parity with gymnasium is tested for {', '.join(sorted(PARITY_TESTED))} only, not for {source.env_id}"
    envpool = load_envpool()
    if envpool is None:
        return "envpool cannot be imported (pip install 'rllib-scoreflow[envpool]')"
    unknown = [k for k in env_config if k not in {*_OWN_KEYS, "num_threads"} and k not in _config(source, envpool)]
    if unknown:
        return f"EnvPool's {source.env_id} has no option {', '.join(map(repr, unknown))}"
    return None


def _config(source: EnvSource, envpool: Any) -> dict[str, Any]:
    return dict(envpool.make_spec(source.env_id).config._asdict())


class EnvPoolChunkEnv(ChunkVectorEnv):
    """N environments of one EnvPool; see ChunkVectorEnv.

    The pool runs in its synchronous mode on a subset of the sub environments: those whose episode
    has not ended in this chunk. Its own time limit and autoreset (on the next step) are never
    reached: its limit would hide a termination on the very last step.
    """

    backend: ClassVar[str] = "envpool"
    # Here and not in the constructor: gymnasium also closes what was refused while it was made.
    _pool: Any = None

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
        reason = refusal(source, env_config)
        if reason is not None:
            raise InputError(f"backend 'envpool' for {source.requested_id!r}: {reason}; use 'auto'")
        dims = env_dims(source.requested_id, env_config)
        super().__init__(
            dims,
            num_envs,
            act_steps=act_steps,
            horizon=horizon,
            max_episode_steps=max_episode_steps or dims.max_episode_steps,
            seed=seed,
            group_size=group_size,
        )
        self._source = source
        self._env_config = dict(env_config)
        self._width = dims.observation_dim

    def _make_pool(self, seeds: list[int]) -> Any:
        """Construct the pool. Its seeds are fixed at construction, hence once per seed."""
        envpool: Any = load_envpool()
        limit = self.max_episode_steps
        options = {
            "num_threads": 1,
            **{key: value for key, value in self._env_config.items() if key not in _OWN_KEYS},
            "num_envs": self.num_envs,
            "env_seed": seeds,
            "max_episode_steps": _NO_LIMIT if limit is None else limit + 1,
            # Contact forces in the observations of Ant and Humanoid, as gymnasium computes them.
            "post_constraint": True,
        }
        base_path = Path(_config(self._source, envpool)["base_path"])
        # The models are read in the constructor, so the folder need not outlive it.
        with tempfile.TemporaryDirectory(prefix="envpool-models-") as folder:
            write_models_with_half_margins(base_path, Path(folder))
            return envpool.make_gymnasium(self._source.env_id, **options, base_path=folder)

    def _reset_all(self, observations: Observation, seeds: list[int] | None, options: Mapping[str, Any] | None) -> None:
        if options:
            raise InputError(f"EnvPool takes no reset options, got {dict(options)}: use gymnasium")
        if seeds is None and self._pool is None:
            # EnvPool's default seed is a constant, which would make all EnvRunners alike.
            entropy = np.random.SeedSequence().entropy
            assert isinstance(entropy, int)
            seeds = sub_env_seeds(entropy, self.num_envs)
        if seeds is not None:
            self._close_pool()
            self._pool = self._make_pool(seeds)
        self._reset_some(self._all_ids, observations)

    def _reset_some(self, ids: Ids, observations: Observation, seeds: list[int] | None = None) -> None:
        # Seeds belong to the pool. The simulations draw at resets alone, so that streams that began alike stay alike.
        first, info = self._pool.reset(ids.astype(np.int32))
        self._width = first.shape[1]
        assert not isinstance(observations, dict)  # no task in PARITY_TESTED has cameras
        observations[info["env_id"], : self._width] = first

    def _run_chunk(self, chunks: NDArray[Any], ids: Ids, elapsed: NDArray[np.int64], outcome: ChunkOutcome) -> None:
        limit = _NO_LIMIT if self.max_episode_steps is None else self.max_episode_steps
        running, observations = ids.astype(np.int32), outcome.observations
        assert not isinstance(observations, dict)
        for k in range(self.act_steps):
            if not running.size:
                return
            observation, reward, terminated, truncated, info = self._pool.step(chunks[running, k], running)
            running = info["env_id"]
            outcome.rewards[running] += reward
            outcome.steps[running] += 1
            observations[running, : self._width] = observation
            truncated = truncated | (elapsed[running] + outcome.steps[running] >= limit)
            ended = terminated | truncated
            if ended.any():
                outcome.terminated[running] = terminated
                outcome.truncated[running] = truncated
                running = running[~ended]

    def _close_pool(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def close_extras(self, **kwargs: Any) -> None:
        """Close the pool."""
        self._close_pool()
