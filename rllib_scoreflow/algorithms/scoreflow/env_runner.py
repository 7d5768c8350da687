"""EnvRunner that steps a vector of chunked environments and keeps whole columns instead of single items."""

import contextlib
import uuid
from time import perf_counter
from typing import Any

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.annotations import override
from ray.rllib.utils.metrics import (
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_EPISODES,
    NUM_EPISODES_LIFETIME,
)

from rllib_scoreflow.algorithms.common.ray_adapter import ArrayEnvRunner
from rllib_scoreflow.algorithms.scoreflow.rollout_buffer import ENV_STEPS, RolloutBuffer
from rllib_scoreflow.envs import ChunkVectorEnv, make_chunk_vector_env
from rllib_scoreflow.plugins import import_plugins
from rllib_scoreflow.policy.tensors import to_tensors
from rllib_scoreflow.policy.threads import one_thread

SECONDS_IN_ENV = "seconds_in_env"
SECONDS_IN_POLICY = "seconds_in_policy"


class ChunkEnvRunner(ArrayEnvRunner):
    """Samples denoising chains with the exploration policy; one step is one chunk.

    A step of all environments is a handful of array operations; episodes are cut from the arrays at the end of
    `sample()`. `on_sample_end` callbacks are called; per-step callbacks and env-to-module connectors are not.
    """

    env: ChunkVectorEnv
    # Read by make_env(), which the base class's constructor calls before anything else.
    _num_resets: int = 0

    def __init__(self, *, config: Any, **kwargs: Any) -> None:
        """Builds environments and policy, and seeds this process's exploration noise."""
        import_plugins(config.plugins)
        super().__init__(config=config, **kwargs)
        self._observation: Any = None
        self._broken = False
        self._episode_ids: list[str] = []
        self._episode_steps = np.zeros(self.num_envs, dtype=np.int64)
        if config.seed is not None:
            torch.manual_seed(int(config.seed) + 1000 * int(self.worker_index or 0))

    @override(SingleAgentEnvRunner)
    def make_env(self) -> None:
        """Creates the chunked vector environment."""
        config = self.config
        policy = config.get_rl_module_spec().model_config["policy"]
        self.env = make_chunk_vector_env(
            config.env,
            config.num_envs_per_env_runner,
            act_steps=policy["act_steps"],
            horizon=policy["horizon"],
            backend=config.env_backend,
            env_config=dict(config.env_config),
            seed=self._reset_seed(),
            group_size=config.group_size or 1,
        )
        self.num_envs = self.env.num_envs

    @override(ArrayEnvRunner)
    def sample_arrays(self, num_timesteps: int, *, reset: bool) -> list[SingleAgentEpisode]:
        """Samples `num_timesteps` chunks (by default `rollout_fragment_length` per environment).

        Environments go on where the last call left them. `num_episodes` and `random_actions` are not supported:
        evaluation has a path of its own.

        Returns:
            Numpy'ised episode fragments with the columns of `RolloutBuffer`.

        Raises:
            Exception: What a simulator raised, or that it returned NaN. The rollout is lost, and the next one starts
                with new environments.
        """
        # Episodes of one seed are compared as wholes: none goes on from an earlier rollout.
        if reset or self._broken or self.config.group_size is not None:
            self._reset()
        try:
            with one_thread():
                buffer = self._roll_out(-(-num_timesteps // self.num_envs))
        except Exception:
            # Whatever state the simulators are in, the next rollout starts with new ones.
            self._broken = True
            raise
        episodes = buffer.episodes(self._episode_ids, self._episode_steps, self._group_names())
        self._log(buffer, sum(e.is_done for e in episodes))
        return episodes

    def _roll_out(self, steps: int) -> RolloutBuffer:
        buffer = RolloutBuffer(steps, self.num_envs)
        for step in range(steps):
            started = perf_counter()
            out = self.module.forward_exploration({Columns.OBS: to_tensors(self._observation, self.device)})
            columns = {name: value.cpu().numpy() for name, value in out.items()}
            sampled = perf_counter()
            results = self.env.step(columns.pop(Columns.ACTIONS_FOR_ENV))
            stepped = perf_counter()
            buffer.seconds_in_policy += sampled - started
            buffer.seconds_in_env += stepped - sampled
            buffer.add(step, self._observation, columns, results)
            self._observation = results[0]
        return buffer

    def _reset(self) -> None:
        if self._broken:
            with contextlib.suppress(Exception):
                self.env.close()
            self.make_env()
            self._broken = False
        seed = self._reset_seed()
        if seed is not None and not self._is_first_start():
            torch.manual_seed(seed)
        self._observation, _ = self.env.reset(seed=seed)
        self._num_resets += 1
        self._episode_ids = [uuid.uuid4().hex for _ in range(self.num_envs)]
        self._episode_steps = np.zeros(self.num_envs, dtype=np.int64)

    def _group_names(self) -> list[str] | None:
        """Of every environment, a name of this rollout that those which share its reset seeds have, too."""
        size = self.config.group_size
        if size is None:
            return None
        names = [uuid.uuid4().hex for _ in range(self.num_envs // size)]
        return [names[env // size] for env in range(self.num_envs)]

    def _is_first_start(self) -> bool:
        return self.weights_seq_no == 0 and self._num_resets == 0

    def _reset_seed(self) -> int | None:
        """Seed of the next reset.

        After a resume, a restart of this process or a crash of a simulator the same episodes must not return: the seed
        depends on how often the weights were updated, and within a process on how often it was reset. A second resume
        from the same checkpoint still repeats the first.
        """
        if self.config.seed is None:
            return None
        seed, worker = int(self.config.seed), int(self.worker_index or 0)
        if self._is_first_start():
            return seed + 100_000 * (worker + 1)
        sequence = np.random.SeedSequence([seed, worker, self.weights_seq_no, self._num_resets])
        return int(sequence.generate_state(1)[0]) & 0x7FFFFFFF

    def _log(self, buffer: RolloutBuffer, num_episodes: int) -> None:
        log = self.metrics.log_value
        # Steps of the environment, as the names say, and not chunks.
        env_steps = int(buffer.columns[ENV_STEPS].sum())
        log(NUM_ENV_STEPS_SAMPLED, env_steps, reduce="sum")
        log(NUM_ENV_STEPS_SAMPLED_LIFETIME, env_steps, reduce="lifetime_sum")
        log(NUM_EPISODES, num_episodes, reduce="sum")
        log(NUM_EPISODES_LIFETIME, num_episodes, reduce="lifetime_sum")
        log(SECONDS_IN_ENV, buffer.seconds_in_env, reduce="sum")
        log(SECONDS_IN_POLICY, buffer.seconds_in_policy, reduce="sum")
