"""Every option of RLlib's has its effect or is refused with the reason: none is accepted in silence."""

import functools
import inspect

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray import tune
from ray.rllib.algorithms.algorithm_config import DEPRECATED_VALUE, AlgorithmConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from rllib_scoreflow.algorithms.common.learner import _clip
from rllib_scoreflow.algorithms.common.rllib_options import EFFECTS, SHOWN_AS, Honoured, Refused
from rllib_scoreflow.algorithms.flow_bc import FlowBCConfig
from rllib_scoreflow.algorithms.scoreflow import ScoreFlowConfig
from rllib_scoreflow.algorithms.scoreflow.scoreflow_learner import ScoreFlowLearner
from rllib_scoreflow.errors import InputError

CONFIGS = {"FlowBC": FlowBCConfig, "ScoreFlow": ScoreFlowConfig}
# Arguments of setters that RLlib refuses itself, with an error that names the new one.
DROPPED_ARGUMENTS = {
    "num_cpus_per_worker", "num_gpus_per_worker", "custom_resources_per_worker", "num_learner_workers",
    "num_cpus_per_learner_worker", "num_gpus_per_learner_worker", "num_cpus_for_local_worker",
    "num_rollout_workers", "num_envs_per_worker", "validate_workers_after_construction", "ignore_worker_failures",
    "recreate_failed_workers", "recreate_failed_env_runners", "num_consecutive_worker_failures_tolerance",
    "worker_health_probe_timeout_s", "worker_restore_timeout_s", "synchronize_filter", "num_sgd_iter",
    "max_requests_in_flight_per_sampler_worker", "evaluation_num_workers", "max_num_worker_restarts",
    "delay_between_worker_restarts_s", "model_config_dict", "_enable_new_api_stack",
}  # fmt: skip
OTHER_NAMES = {
    "custom_stats_cls_lookup": "stats_cls_lookup",
    "dataset_num_iters_per_offline_eval_runner": "dataset_num_iters_per_eval_runner",
    "create_env_on_driver": "create_env_on_local_worker",
    "custom_eval_function": "custom_evaluation_function",
    **{shown: name for name, shown in SHOWN_AS.items()},
}


def rllib_options() -> set[str]:
    """What can be set on RLlib's config: attributes, settable properties, arguments of setters, dictionary keys."""
    config = AlgorithmConfig()
    names = {*vars(config), *config.to_dict()}
    for name, member in vars(AlgorithmConfig).items():
        if isinstance(member, property) and member.fset is not None:
            names.add(name)
        elif inspect.isfunction(member) and "Self" in str(inspect.signature(member).return_annotation):
            parameters = inspect.signature(member).parameters.values()
            names |= {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    return {OTHER_NAMES.get(name, name) for name in names} - DROPPED_ARGUMENTS


@pytest.mark.parametrize("algorithm", CONFIGS)
def test_every_option_of_rllib_has_a_place(algorithm: str) -> None:
    assert len(rllib_options()) > 230
    assert rllib_options() == set(EFFECTS[algorithm])
    assert all(effect.because if isinstance(effect, Refused) else effect.by for effect in EFFECTS[algorithm].values())


@pytest.mark.parametrize("algorithm", CONFIGS)
def test_the_defaults_pass_and_every_refused_option_is_refused(algorithm: str) -> None:
    config_class = CONFIGS[algorithm]
    config_class().validate_options()
    for name, effect in EFFECTS[algorithm].items():
        if not isinstance(effect, Refused) or name in ("enable_rl_module_and_learner", "input_read_batch_size"):
            continue
        config = config_class()
        default = getattr(config, name)
        setattr(config, name, not default if isinstance(default, bool) else object())
        with pytest.raises(InputError) as caught:
            config.validate_options()
        message = str(caught.value)
        assert f"'{SHOWN_AS.get(name, name)}'" in message, message
        assert effect.because in message
        assert "\n" not in message


@pytest.mark.parametrize("algorithm", CONFIGS)
def test_a_config_survives_its_dictionary_and_its_state(algorithm: str) -> None:
    config = CONFIGS[algorithm]().debugging(seed=3)
    for again in (
        CONFIGS[algorithm]().update_from_dict(config.to_dict()),
        CONFIGS[algorithm].from_state(config.get_state()),
        config.copy(),
    ):
        again.validate_options()
        assert again.seed == 3


def test_a_config_of_an_earlier_versions_checkpoint_is_taken() -> None:
    """Its validate() had set a connector, the batch size and the spaces."""
    tuned, cloned = ScoreFlowConfig(), FlowBCConfig()
    state = tuned.get_state() | {"_train_batch_size_per_learner": 80}
    ScoreFlowConfig.from_state(state | {"_learner_connector": tuned._build_learner_connector}).validate_options()
    space = gym.spaces.Box(-1.0, 1.0, (3,))
    FlowBCConfig.from_state(cloned.get_state() | {"observation_space": space, "input_": "x"}).validate_options()


BOTH = [
    ({"evaluation_duration_unit": "timesteps"}, "whole episodes"),
    ({"evaluation_config": {"explore": True}}, "evaluation_config.explore"),
    ({"evaluation_config": {"env_config": {"a": 1}}}, "evaluation_config.env_config"),
    ({"explore": False}, "rollouts must explore"),
    ({"train_batch_size": 4000}, "rollout_fragment_length"),
    ({"observation_filter": "MeanStdFilter"}, "normalised"),
    ({"clip_rewards": True}, "leave it out|reward_scaling"),
    ({"normalize_actions": False}, "normalised"),
    ({"clip_actions": True}, "always clipped"),
    ({"model": {"use_lstm": True}}, r"'model\.use_lstm' is True.*velocity"),
    ({"optimizer": {"adam_epsilon": 1e-5}}, "AdamW"),
    ({"batch_mode": "complete_episodes"}, "chunks|no EnvRunners"),
    ({"shuffle_batch_per_epoch": True}, "shuffled in every epoch"),
    ({"evaluation_num_env_runners": 2}, "one vector environment"),
    ({"evaluation_parallel_to_training": True}, "one vector environment"),
    ({"evaluation_force_reset_envs_before_iteration": False}, "one vector environment"),
    ({"render_env": True}, "rllib evaluate --video"),
    ({"num_gpus": 1}, "num_gpus_per_learner"),
    ({"gym_env_vectorize_mode": "async"}, "env_backend"),
    ({"min_time_s_per_iteration": 5}, "one iteration"),
    ({"min_sample_timesteps_per_iteration": 5}, "one iteration"),
    ({"offline_evaluation_interval": 1}, "validation_loss"),
    ({"torch_compile_learner": True}, "not compiled"),
    ({"framework": "tf2"}, "torch"),
    ({"grad_clip_by": "norms"}, "'network'"),
    ({"evaluation_duration": "auto"}, "integer"),
    ({"output": "somewhere"}, "not written"),
    ({"learner_config_dict": {"a": 1}}, "learner_class"),
    ({"gama": 0.9}, "did you mean 'gamma'"),
    ({"count_steps_by": "agent_steps"}, "one policy for one agent"),
    ({"enable_rl_module_and_learner": False, "enable_env_runner_and_connector_v2": False}, "old API stack"),
    ({"buffer_size": 100}, "dropped"),
    ({"algorithm_config_overrides_per_module": {"default_policy": {"lr": 1.0}}}, "velocity"),
]


@pytest.mark.parametrize("algorithm", CONFIGS)
@pytest.mark.parametrize(("options", "words"), BOTH)
def test_what_has_no_effect_is_refused_with_the_reason(algorithm: str, options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        CONFIGS[algorithm]().update_from_dict(options).validate_options()
    assert next(iter(options)).removeprefix("_") in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("algorithm", "options", "words"),
    [
        ("FlowBC", {"num_epochs": 3}, "training_iteration"),
        ("FlowBC", {"minibatch_size": 3}, "train_batch_size_per_learner"),
        ("FlowBC", {"num_env_runners": 2}, "no EnvRunners"),
        ("FlowBC", {"num_workers": 2}, "no EnvRunners"),
        ("FlowBC", {"rollout_fragment_length": 3}, "no EnvRunners"),
        ("FlowBC", {"metrics_num_episodes_for_smoothing": 3}, "no EnvRunners"),
        ("FlowBC", {"input": "/data"}, "dataset"),
        ("FlowBC", {"gamma": 0.9}, "no returns"),
        ("ScoreFlow", {"train_batch_size_per_learner": 4000}, "rollout_fragment_length"),
        ("ScoreFlow", {"input": "/data"}, "FlowBC clones"),
    ],
)
def test_what_one_algorithm_does_not_heed_is_refused(algorithm: str, options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        CONFIGS[algorithm]().update_from_dict(options).validate_options()


class Unregistered(gym.Env):
    observation_space = gym.spaces.Box(-1.0, 1.0, (3,))
    action_space = gym.spaces.Box(-1.0, 1.0, (1,))


class Hooks(RLlibCallback):
    def on_evaluate_end(self, **kwargs) -> None: ...


class StepHooks(Hooks):
    def on_episode_step(self, **kwargs) -> None: ...


class OldHooks(RLlibCallback):
    def on_learn_on_batch(self, **kwargs) -> None: ...


IN_PYTHON = [
    (lambda c: c.multi_agent(policies={"a", "b"}, policy_mapping_fn=lambda *_: "a"), "one policy for one agent"),
    (lambda c: c.api_stack(enable_rl_module_and_learner=False, enable_env_runner_and_connector_v2=False), "old API"),
    (lambda c: c.environment(Unregistered), "gymnasium.register"),
    (lambda c: c.environment(lambda config: Unregistered()), "gymnasium.register"),
    (lambda c: c.environment("made_by_tune"), "registered with Ray Tune only"),
    (lambda c: c.rl_module(model_config={"fcnet_hiddens": [8]}), r"'model_config.*velocity"),
    (lambda c: c.learners(learner_connector=lambda *_: None), "'learner_connector'"),
    (lambda c: c.env_runners(module_to_env_connector=lambda *_: None), "'module_to_env_connector'"),
    (lambda c: c.env_runners(env_to_module_connector=lambda *_: None), "'env_to_module_connector'"),
    (lambda c: c.evaluation(custom_evaluation_function=lambda *_: {}), "on_evaluate_end"),
    (lambda c: c.evaluation(evaluation_config=AlgorithmConfig()), "evaluation_config"),
    (lambda c: c.callbacks(StepHooks), "StepHooks.*on_episode_step.*on_sample_end"),
    (lambda c: c.callbacks([Hooks, functools.partial(StepHooks)]), "on_episode_step"),
    (lambda c: c.callbacks(OldHooks), "on_learn_on_batch"),
    (lambda c: c.callbacks(on_episode_end=print), "'on_episode_end'.*on_sample_end"),
    (lambda c: c.callbacks(on_environment_created=print), "'on_environment_created'"),
    (lambda c: c.callbacks(on_train_result="print"), "'on_train_result'.*a function"),
    (lambda c: c.debugging(seed=-1), "'seed' is -1"),
    (lambda c: c.debugging(seed=2**32), "'seed' is 4294967296"),
    (lambda c: c.learners(learner_class=TorchLearner), "'learner_class'.*extends"),
    (lambda c: c.environment(observation_space=gym.spaces.Box(-1, 1, (3,))), "'observation_space'"),
]


@pytest.mark.parametrize("algorithm", CONFIGS)
@pytest.mark.parametrize(("change", "words"), IN_PYTHON)
def test_what_python_can_set_is_refused_in_one_sentence(algorithm: str, change, words: str) -> None:
    tune.register_env("made_by_tune", lambda config: Unregistered())
    with pytest.raises(InputError, match=words) as caught:
        change(CONFIGS[algorithm]()).validate_options()
    assert "\n" not in str(caught.value)


def test_an_env_runner_must_be_of_this_package() -> None:
    with pytest.raises(InputError, match=r"'env_runner_cls'.*ChunkEnvRunner"):
        ScoreFlowConfig().env_runners(env_runner_cls=SingleAgentEnvRunner).validate_options()


def test_what_has_an_effect_passes() -> None:
    class OwnLearner(ScoreFlowLearner):
        pass

    config = (
        ScoreFlowConfig()
        .training(gamma=0.9, num_epochs=3, minibatch_size=100, grad_clip=1.0, grad_clip_by="global_norm")
        .learners(num_learners=2, num_gpus_per_learner=0.5, learner_class=OwnLearner)
        .env_runners(num_env_runners=2, num_cpus_per_env_runner=0.5, sample_timeout_s=10)
        .fault_tolerance(restart_failed_env_runners=True, max_num_env_runner_restarts=3)
        .evaluation(evaluation_interval=2, evaluation_duration=3, evaluation_config={"explore": False})
        .callbacks(Hooks, on_train_result=print)
        .reporting(metrics_num_episodes_for_smoothing=5)
        .debugging(seed=np.int64(1), log_level="ERROR")
    )
    config.validate_options()
    FlowBCConfig().callbacks([Hooks, Hooks]).training(train_batch_size_per_learner=32).validate_options()


def test_a_refused_option_does_not_stay_in_the_copy_for_evaluations(policy_folder) -> None:
    config = (
        ScoreFlowConfig()
        .environment("Pendulum-v1")
        .training(pretrained_policy=str(policy_folder), minibatch_size=400)
        .evaluation(evaluation_config={"explore": False})
    )
    config.validate()
    config.get_evaluation_config_object().validate()
    config.validate()
    more = config.copy(copy_frozen=False).env_runners(num_envs_per_env_runner=2, rollout_fragment_length=300)
    more.validate()
    assert more.train_batch_size_per_learner == 600


@pytest.mark.parametrize("by", ["network", "global_norm", "norm", "value"])
def test_gradients_are_clipped_as_asked(by: str) -> None:
    networks = {"a": [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))]}
    networks["b"] = [torch.nn.Parameter(torch.zeros(1))]
    gradients = {"a": [torch.tensor([3.0, 4.0]), torch.tensor([12.0])], "b": [torch.tensor([0.5])]}
    for name, parameters in networks.items():
        for parameter, gradient in zip(parameters, gradients[name], strict=True):
            parameter.grad = gradient.clone()
    norms = {"a": torch.tensor(13.0), "b": torch.tensor(0.5)}
    _clip(networks, norms, 1.0, by)
    total = float(np.hypot(13.0, 0.5))
    expected = {
        "network": [[3 / 13, 4 / 13], [12 / 13], [0.5]],
        "global_norm": [[3 / total, 4 / total], [12 / total], [0.5 / total]],
        "norm": [[0.6, 0.8], [1.0], [0.5]],
        "value": [[1.0, 1.0], [1.0], [0.5]],
    }[by]
    found = [parameter.grad for parameters in networks.values() for parameter in parameters]
    for gradient, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, torch.tensor(wanted), rtol=1e-5, atol=1e-6)


def test_options_that_rllib_has_dropped_have_no_value() -> None:
    dropped = {name for name, value in vars(AlgorithmConfig()).items() if value == DEPRECATED_VALUE}
    dropped.remove("simple_optimizer")  # RLlib sets it itself
    assert dropped
    assert not any(isinstance(EFFECTS["ScoreFlow"][name], Honoured) for name in dropped)
