"""EnvRunner that steps a vector of chunked environments and keeps whole columns instead of single items."""

import contextlib
import uuid
from time import perf_counter
from typing import Any

import numpy as np
import torch
from ray.rllib.callbacks.utils import make_callback
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.metrics import (
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_EPISODES,
    NUM_EPISODES_LIFETIME,
    SAMPLE_TIMER,
    WEIGHTS_SEQ_NO,
)

from rllib_scoreflow.algorithms.common.ray_adapter import accept_any_weights
from rllib_scoreflow.algorithms.scoreflow.rollout_buffer import ENV_STEPS, RolloutBuffer
from rllib_scoreflow.envs import ChunkVectorEnv, make_chunk_vector_env
from rllib_scoreflow.plugins import import_plugins
from rllib_scoreflow.policy.tensors import to_tensors
from rllib_scoreflow.policy.threads import one_thread

SECONDS_IN_ENV = "seconds_in_env"
SECONDS_IN_POLICY = "seconds_in_policy"


class ChunkEnvRunner(SingleAgentEnvRunner):
    """Samples denoising chains with the exploration policy; one step is one chunk.

    The base class handles every step of every environment in Python. Here a step of all environments is a handful of
    array operations; episodes are cut from the arrays at the end of `sample()`. `on_sample_end` callbacks are called;
    per-step callbacks and env-to-module connectors are not.
    """

    env: ChunkVectorEnv
    # Read by make_env(), which the base class's constructor calls before anything else.
    _num_resets: int = 0
    _weights_seq_no: int = 0

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
        )
        self.num_envs = self.env.num_envs
        self._needs_initial_reset = True

    def sample(
        self,
        *,
        num_timesteps: int | None = None,
        num_episodes: int | None = None,
        explore: bool | None = None,
        random_actions: bool = False,
        force_reset: bool = False,
    ) -> list[SingleAgentEpisode]:
        """Samples `num_timesteps` chunks (default: `rollout_fragment_length` per environment).

        Environments go on where the last call left them. `num_episodes` and `random_actions` are not supported:
        evaluation has a path of its own.

        Returns:
            Numpy'ised episode fragments with the columns of `RolloutBuffer`.

        Raises:
            Exception: What a simulator raised, or that it returned NaN. The rollout is lost, and the next one starts
                with new environments.
        """
        if num_episodes is not None or random_actions or explore is False:
            raise NotImplementedError("ChunkEnvRunner samples exploring chunks; use evaluate()")
        if num_timesteps is None:
            steps = int(self.config.rollout_fragment_length)
        else:
            steps = -(-num_timesteps // self.num_envs)
        with self.metrics.log_time(SAMPLE_TIMER):
            if force_reset or self._broken or self._observation is None:
                self._reset()
            try:
                with one_thread():
                    buffer = self._roll_out(steps)
            except Exception:
                # Whatever state the simulators are in, the next rollout starts with new ones.
                self._broken = True
                raise
            episodes = buffer.episodes(self._episode_ids, self._episode_steps)
        make_callback(
            "on_sample_end",
            callbacks_objects=self._callbacks,
            callbacks_functions=self.config.callbacks_on_sample_end,
            kwargs={"env_runner": self, "metrics_logger": self.metrics, "samples": episodes},
        )
        self._log(buffer, sum(e.is_done for e in episodes))
        return episodes

    def set_state(self, state: Any) -> None:
        """Takes over a state, also weights with a lower number than these: a restored checkpoint has such."""
        if state.get(WEIGHTS_SEQ_NO):
            accept_any_weights(self)
        super().set_state(state)

    def get_metrics(self) -> Any:
        """Reduced metrics since the last call."""
        return self.metrics.reduce()

    def _roll_out(self, steps: int) -> RolloutBuffer:
        buffer = RolloutBuffer(steps, self.num_envs)
        for step in range(steps):
            started = perf_counter()
            out = self.module.forward_exploration({Columns.OBS: to_tensors(self._observation, self._device)})
            columns = {name: value.cpu().numpy() for name, value in out.items()}
            sampled = perf_counter()
            results = self.env.step(columns[Columns.ACTIONS])
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
        self._needs_initial_reset = False

    def _is_first_start(self) -> bool:
        return self._weights_seq_no == 0 and self._num_resets == 0

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
        sequence = np.random.SeedSequence([seed, worker, self._weights_seq_no, self._num_resets])
        return int(sequence.generate_state(1)[0]) & 0x7FFFFFFF

    def _log(self, buffer: RolloutBuffer, num_episodes: int) -> None:
        log = self.metrics.log_value
        # Steps of the environment, as the names say, and not chunks.
        env_steps = int(buffer.columns[ENV_STEPS].sum())
        log(NUM_ENV_STEPS_SAMPLED, env_steps, reduce="sum")
        log(NUM_ENV_STEPS_SAMPLED_LIFETIME, env_steps, reduce="lifetime_sum")
        log(NUM_EPISODES, num_episodes, reduce="sum")
        log(NUM_EPISODES_LIFETIME, num_episodes, reduce="lifetime_sum")
        log(WEIGHTS_SEQ_NO, self._weights_seq_no, window=1)
        log(SECONDS_IN_ENV, buffer.seconds_in_env, reduce="sum")
        log(SECONDS_IN_POLICY, buffer.seconds_in_policy, reduce="sum")
