"""Fails loudly when a Ray release changes what the adapter leans on."""

import inspect

import ray
from packaging.version import Version
from ray import tune
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.learner.learner import Learner
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.execution.rollout_ops import synchronous_parallel_sample

from rllib_scoreflow.algorithms.common.ray_adapter import ArrayEnvRunner, find_trainable, is_registered_env
from rllib_scoreflow.versions import supported_ray


def test_ray_is_the_version_that_the_adapter_was_written_for() -> None:
    assert Version(ray.__version__) in supported_ray()


def test_learner_internals() -> None:
    assert "self._weights_seq_no += 1" in inspect.getsource(Learner.update)
    assert "self._learner_connector(" in inspect.getsource(Learner._make_batch_if_necessary)
    assert "self._device = get_device" in inspect.getsource(TorchLearner.build)
    assert "return self._device" in inspect.getsource(Learner.device.fget)


def test_env_runner_internals() -> None:
    source = inspect.getsource(SingleAgentEnvRunner)
    for name in ("self._device", "self._weights_seq_no", "self._needs_initial_reset"):
        assert name in source, name
    assert "self._weights_seq_no < weights_seq_no" in inspect.getsource(SingleAgentEnvRunner.set_state)
    sampling = inspect.getsource(SingleAgentEnvRunner.sample)
    assert sampling.count("self._sample(") == 3
    # Ray adds its own parameter to the methods of a class that was made an actor in this process
    given, taken = (
        [name for name in inspect.signature(cls._sample).parameters if name != "_ray_trace_ctx"]
        for cls in (SingleAgentEnvRunner, ArrayEnvRunner)
    )
    assert given == taken


def test_config_internals() -> None:
    assert AlgorithmConfig()._is_online is True
    assert "return self._is_online" in inspect.getsource(AlgorithmConfig.is_online.fget)


def test_names_are_registered() -> None:
    name = "only-here-v0"
    assert not is_registered_env(name)
    assert find_trainable(name) is None
    tune.register_env(name, lambda config: None)
    assert is_registered_env(name)
    assert find_trainable(name) is None
    tune.register_trainable(name, Algorithm)
    assert find_trainable(name) is Algorithm


def test_algorithm_asks_whether_to_create_evaluation_runners() -> None:
    assert "_should_create_evaluation_env_runners" in inspect.getsource(Algorithm.setup)


def test_sampling_arguments() -> None:
    arguments = set(inspect.signature(synchronous_parallel_sample).parameters)
    assert {"worker_set", "sample_timeout_s", "_uses_new_env_runners", "_return_metrics"} <= arguments


def test_restoring_goes_through_checkpointable_first() -> None:
    source = inspect.getsource(Algorithm.restore_from_path)
    assert "super().restore_from_path(path, *args, **kwargs)" in source
    assert "self.env_runner_group.sync_weights(" in source
