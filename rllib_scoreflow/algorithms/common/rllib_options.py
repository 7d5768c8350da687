"""What each option of RLlib's `AlgorithmConfig` does in FlowBC and ScoreFlow: it has its effect, or it is refused.

Written for Ray 2.60; a test walks all of its options, so that one which a new Ray adds must be given a place here.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Honoured:
    """An option that has its effect.

    Attributes:
        by: What heeds it.
    """

    by: str


@dataclass(frozen=True)
class Refused:
    """An option that has none: every value but the default is refused.

    Attributes:
        because: Why, and what to do instead; the end of a sentence.
    """

    because: str


Effect = Honoured | Refused


def _each(effect: Effect, names: str) -> dict[str, Effect]:
    return dict.fromkeys(names.split(), effect)


_OLD_STACK = Refused("it belongs to RLlib's old API stack, on which these algorithms do not run; leave it out")
_DROPPED = Refused("RLlib itself has dropped it; leave it out")
_ONE_AGENT = Refused("these algorithms train one policy for one agent; leave it out")
_NO_CONNECTORS = Refused(
    "the policy takes observations and gives actions by its own normaliser, without RLlib's connectors between it "
    "and the environment; put the change into a gymnasium wrapper that is registered under an id of its own"
)
_NETWORK = "velocity: {...}, vision: {...} of FlowBC, and by noise: {...}, critic_hidden_dim of ScoreFlow"
_NO_MODEL = Refused(f"the policy's networks are described by {_NETWORK}")
_RECORDINGS = Refused("these algorithms read no recordings of RLlib; FlowBC's option dataset names its data")
_NO_RECORDING = Refused("rollouts are not written to files; leave it out")
_OFFLINE_EVALUATION = Refused(
    "there are no offline evaluation runners: FlowBC reports validation_loss in every epoch (validation_fraction)"
)
_EVALUATION_IN_ONE_PROCESS = Refused(
    "an evaluation plays exactly evaluation_duration episodes in one vector environment, after the update; leave it out"
)
_EVALUATE_COMMAND = "`rllib evaluate` plays the policy in other ways"
_ONE_UPDATE = Refused("one iteration is one epoch of FlowBC, or one rollout and one update of ScoreFlow; leave it out")
_NO_COMPILE = Refused("the networks are not compiled; leave it out")
_NOT_CALLED = Refused(
    "this hook is never called, as environments are stepped in whole arrays; use on_sample_end, which gets all "
    "episodes, or a gymnasium wrapper"
)
_STATES = Refused("EnvRunners have no connectors whose states could be merged; leave it out")
_CLONING_SAMPLES_NOTHING = Refused("FlowBC learns from its dataset and has no EnvRunners; leave it out")

# A config of Python's has these; an experiment file may not give them.
BOOKKEEPING = (
    "algo_class", "_is_online", "_is_frozen", "_validate_config", "_use_msgpack_checkpoints", "in_evaluation",
    "simple_optimizer",
)  # fmt: skip
PASSED_OVER = ("_enable_new_api_stack",)
"""Keys that RLlib itself reads over."""
NO_OPTIONS = frozenset({"algo_class", "_is_frozen", "in_evaluation"})
"""Attributes of any algorithm's config that are none of its options."""
ENV_TO_MODULE = "_env_to_module_connector"
"""What makes the connectors between an environment and the policy."""
OWN_CODE = (
    "env_runner_cls", "_learner_class", ENV_TO_MODULE, "_module_to_env_connector", "_learner_connector",
)  # fmt: skip
"""Options that take a user's own code, which may report what it likes."""

# The same in both algorithms.
_SHARED: dict[str, Effect] = {
    **_each(Honoured("RLlib's request for resources"), "num_cpus_for_main_process custom_resources_for_main_process"),
    **_each(Honoured("RLlib's placement group"), "placement_strategy"),
    **_each(
        Honoured("RLlib's LearnerGroup"),
        "num_learners num_gpus_per_learner num_cpus_per_learner custom_resources_per_learner local_gpu_idx",
    ),
    **_each(Honoured("RLlib's TorchLearner, where there are several Learners"), "torch_ddp_kwargs"),
    **_each(Honoured("it is so always: a step whose gradients are not finite is skipped"), "torch_skip_nan_gradients"),
    **_each(Honoured("it is so always: RLlib's checker is not run"), "disable_env_checking"),
    **_each(Honoured("validate(), evaluation and EnvRunners"), "env env_config"),
    **_each(Honoured("the optimisers and their schedule"), "lr"),
    **_each(Honoured("PolicyLearner.postprocess_gradients"), "grad_clip grad_clip_by"),
    **_each(Honoured("check_classes: it must extend this package's"), "_learner_class"),
    **_each(Honoured("a Learner of the user's own"), "learner_config_dict"),
    **_each(Honoured("RLlib's Algorithm; every hook that is not called is refused"), "callbacks_class"),
    **_each(
        Honoured("RLlib's Algorithm"),
        "callbacks_on_algorithm_init callbacks_on_checkpoint_loaded callbacks_on_train_result",
    ),
    **_each(Honoured("PolicyAlgorithm.evaluate"), "callbacks_on_evaluate_start callbacks_on_evaluate_end"),
    **_each(_NOT_CALLED, "callbacks_on_environment_created callbacks_on_episode_created callbacks_on_episode_start"),
    **_each(_NOT_CALLED, "callbacks_on_episode_step callbacks_on_episode_end"),
    **_each(
        _OFFLINE_EVALUATION,
        "callbacks_on_evaluate_offline_start callbacks_on_evaluate_offline_end "
        "callbacks_on_offline_eval_runners_recreated offline_evaluation_interval num_offline_eval_runners "
        "offline_evaluation_type offline_eval_runner_class offline_loss_for_module_fn offline_evaluation_duration "
        "offline_evaluation_parallel_to_training offline_evaluation_timeout_s num_cpus_per_offline_eval_runner "
        "num_gpus_per_offline_eval_runner custom_resources_per_offline_eval_runner "
        "restart_failed_offline_eval_runners ignore_offline_eval_runner_failures "
        "max_num_offline_eval_runner_restarts offline_eval_runner_restore_timeout_s "
        "max_requests_in_flight_per_offline_eval_runner validate_offline_eval_runners_after_construction "
        "offline_eval_runner_health_probe_timeout_s offline_eval_rl_module_inference_only "
        "broadcast_offline_eval_runner_states offline_eval_batch_size_per_runner dataset_num_iters_per_eval_runner "
        "off_policy_estimation_methods ope_split_batch_by_episode",
    ),
    **_each(Honoured("RLlib's Algorithm.step, and PolicyAlgorithm.evaluate"), "evaluation_interval"),
    **_each(Honoured("PolicyAlgorithm.evaluate"), "evaluation_duration seed"),
    **_each(Honoured("only {explore: false}, as evaluations are"), "evaluation_config"),
    **_each(
        _EVALUATION_IN_ONE_PROCESS,
        "evaluation_num_env_runners evaluation_parallel_to_training evaluation_sample_timeout_s "
        "evaluation_auto_duration_min_env_steps_per_sample evaluation_auto_duration_max_env_steps_per_sample "
        "evaluation_unhealthy_workers_timeout_s evaluation_error_after_n_consecutive_skips "
        "evaluation_force_reset_envs_before_iteration",
    ),
    "evaluation_duration_unit": Refused("an evaluation plays whole episodes; give their number by evaluation_duration"),
    "custom_evaluation_function": Refused(
        "evaluations play evaluation_duration episodes; use the hook on_evaluate_end to add results of your own"
    ),
    **_each(Honoured("RLlib's metrics logger and log"), "stats_cls_lookup log_level log_sys_usage"),
    **_each(
        _ONE_UPDATE,
        "min_time_s_per_iteration min_train_timesteps_per_iteration min_sample_timesteps_per_iteration",
    ),
    "log_gradients": Refused("the gradients' norms are reported always, as grad_norm/NETWORK; leave it out"),
    "keep_per_episode_custom_metrics": _OLD_STACK,
    "export_native_model_files": Refused("every checkpoint holds the policy, and `rllib policy export` writes ONNX"),
    "num_gpus": Refused("it is of RLlib's old API stack; set num_gpus_per_learner (or num_gpus_per_env_runner)"),
    "train_batch_size": Refused(
        "it is of RLlib's old API stack; FlowBC's minibatch is train_batch_size_per_learner, ScoreFlow's rollout "
        "rollout_fragment_length * num_envs_per_env_runner * num_env_runners chunks"
    ),
    "framework_str": Refused("these algorithms run on torch; leave it out"),
    **_each(_NO_COMPILE, "torch_compile_learner torch_compile_learner_what_to_compile torch_compile_worker"),
    **_each(_NO_COMPILE, "torch_compile_learner_dynamo_backend torch_compile_learner_dynamo_mode"),
    **_each(_NO_COMPILE, "torch_compile_worker_dynamo_backend torch_compile_worker_dynamo_mode"),
    **_each(_NO_MODEL, "model _model_config _rl_module_spec algorithm_config_overrides_per_module"),
    **_each(_NO_MODEL, "_per_module_overrides"),
    "optimizer": Refused("the optimisers are AdamW; set lr and weight_decay (ScoreFlow: actor_weight_decay, ...)"),
    "_torch_lr_scheduler_classes": Refused("set lr, lr_min, lr_cycle_iterations and lr_warmup_iterations instead"),
    "_torch_grad_scaler_class": Refused("gradients are computed in float32; leave it out"),
    "observation_filter": Refused("observations are normalised by the dataset's bounds; leave it out"),
    "normalize_actions": Refused("actions are normalised by the dataset's bounds; leave it out"),
    "clip_actions": Refused("actions are always clipped to the bounds of the policy and of the environment"),
    "explore": Refused(
        f"rollouts must explore, and evaluations never do (eval_return_mean; {_EVALUATE_COMMAND}); leave it out"
    ),
    "render_env": Refused("nothing is drawn while training; `rllib evaluate --video FILE` films the policy"),
    "gym_env_vectorize_mode": Refused("env_backend chooses the vector environment: auto, envpool or gymnasium"),
    "action_mask_key": Refused("actions are continuous and have no mask; leave it out"),
    "_is_atari": Refused("actions are continuous; leave it out"),
    **_each(_NO_CONNECTORS, "_env_to_module_connector _module_to_env_connector"),
    **_each(_NO_CONNECTORS, "add_default_connectors_to_env_to_module_pipeline"),
    **_each(_NO_CONNECTORS, "add_default_connectors_to_module_to_env_pipeline"),
    **_each(_STATES, "merge_env_runner_states broadcast_env_runner_states use_env_runner_state_server"),
    **_each(_STATES, "env_runner_state_server_max_concurrency _dont_auto_sync_env_runner_states"),
    **_each(
        Refused("rollouts are cut into numpy arrays without overlap; leave it out"),
        "episodes_to_numpy episode_lookback_horizon compress_observations",
    ),
    "restart_failed_sub_environments": Refused("after a simulator's failure the EnvRunner makes new ones always"),
    **_each(
        Refused("EnvRunners and Learners are asked one thing at a time; leave it out"),
        "max_requests_in_flight_per_env_runner max_requests_in_flight_per_learner",
    ),
    **_each(
        Refused("there are no aggregator actors; leave it out"),
        "num_aggregator_actors_per_learner max_requests_in_flight_per_aggregator_actor",
    ),
    **_each(_ONE_AGENT, "policies policy_map_capacity policy_mapping_fn policies_to_train"),
    **_each(_ONE_AGENT, "policy_states_are_swappable observation_fn count_steps_by"),
    **_each(
        _RECORDINGS,
        "input_read_method input_read_method_kwargs input_read_schema input_read_episodes input_read_sample_batches "
        "input_read_batch_size input_filesystem input_filesystem_kwargs input_compress_columns input_spaces_jsonable "
        "materialize_data materialize_mapped_data map_batches_kwargs iter_batches_kwargs ignore_final_observation "
        "prelearner_class prelearner_buffer_class prelearner_buffer_kwargs prelearner_module_synch_period "
        "prelearner_use_recorded_module_states dataset_num_iters_per_learner input_config "
        "actions_in_input_normalized postprocess_inputs shuffle_buffer_size offline_sampling",
    ),
    **_each(
        _NO_RECORDING,
        "output output_config output_compress_columns output_max_file_size output_max_rows_per_file "
        "output_write_remaining_data output_write_method output_write_method_kwargs output_filesystem "
        "output_filesystem_kwargs output_write_episodes",
    ),
    **_each(
        _OLD_STACK,
        "enable_rl_module_and_learner enable_env_runner_and_connector_v2 extra_python_environs_for_driver "
        "extra_python_environs_for_worker _fake_gpus eager_tracing eager_max_retraces tf_session_args "
        "local_tf_session_args remote_worker_envs remote_env_batch_wait_ms enable_tf1_exec_eagerly sample_collector "
        "preprocessor_pref update_worker_filter_stats use_worker_filter_stats sampler_perf_stats_ema_coef "
        "_prior_exploration_config exploration_config sync_filters_on_rollout_workers_timeout_s "
        "metrics_episode_collection_timeout_s checkpoint_trainable_policies_only fake_sampler "
        "_tf_policy_handles_more_than_one_loss _disable_preprocessor_api _disable_action_flattening "
        "_disable_initialize_loss_from_dummy_batch",
    ),
    **_each(
        _DROPPED,
        "env_task_fn enable_connectors monitor evaluation_num_episodes metrics_smoothing_episodes "
        "timesteps_per_iteration min_iter_time_s collect_metrics_timeout min_time_s_per_reporting "
        "min_train_timesteps_per_reporting min_sample_timesteps_per_reporting input_evaluation policy_map_cache "
        "worker_cls synchronize_filters enable_async_evaluation custom_async_evaluation_function "
        "_enable_rl_module_api auto_wrap_old_gym_envs always_attach_evaluation_results buffer_size "
        "prioritized_replay learning_starts replay_batch_size replay_sequence_length replay_mode "
        "prioritized_replay_alpha prioritized_replay_beta prioritized_replay_eps _disable_execution_plan_api",
    ),
    **_each(Honoured("RLlib's own bookkeeping, which no user sets"), " ".join(BOOKKEEPING)),
}
_SAMPLING = (
    "num_env_runners num_envs_per_env_runner rollout_fragment_length num_cpus_per_env_runner num_gpus_per_env_runner "
    "custom_resources_per_env_runner validate_env_runners_after_construction sample_timeout_s create_local_env_runner "
    "create_env_on_local_worker restart_failed_env_runners ignore_env_runner_failures max_num_env_runner_restarts "
    "delay_between_env_runner_restarts_s num_consecutive_env_runner_failures_tolerance "
    "env_runner_health_probe_timeout_s env_runner_restore_timeout_s callbacks_on_sample_end "
    "callbacks_on_env_runners_recreated metrics_num_episodes_for_smoothing"
)
_SCOREFLOW: dict[str, Effect] = {
    **_each(Honoured("EnvRunners, RLlib's EnvRunnerGroup and RolloutStatistics"), _SAMPLING),
    **_each(Honoured("check_classes: it must extend this package's"), "env_runner_cls"),
    **_each(Honoured("ScoreFlowLearner"), "gamma num_epochs minibatch_size"),
    "_train_batch_size_per_learner": Refused(
        "an update takes the whole rollout: rollout_fragment_length * num_envs_per_env_runner * num_env_runners "
        "chunks; set these, or minibatch_size"
    ),
    "shuffle_batch_per_epoch": Refused("the rollout is shuffled in every epoch; leave it out"),
    "batch_mode": Refused(
        "a rollout is always rollout_fragment_length chunks of every environment, and episodes go on in the next"
    ),
    "clip_rewards": Refused(
        "rewards are divided by the running standard deviation of the return and bounded (reward_scaling, reward_clip)"
    ),
    **_each(Refused("the spaces are those of the environment and of the policy"), "observation_space action_space"),
    **_each(
        Refused("the Learner makes its batch of chains in its own way; use the hook on_sample_end to change episodes"),
        "_learner_connector add_default_connectors_to_learner_pipeline",
    ),
    **_each(Refused("ScoreFlow learns from rollouts; FlowBC clones a dataset first"), "input_ offline_data_class"),
}
_FLOW_BC: dict[str, Effect] = {
    **_each(_CLONING_SAMPLES_NOTHING, f"{_SAMPLING} env_runner_cls batch_mode"),
    **_each(Refused("cloning has no returns or rewards; leave it out"), "gamma clip_rewards"),
    **_each(Honoured("FlowBCLearner: the size of its minibatches"), "_train_batch_size_per_learner"),
    "num_epochs": Refused("one iteration is one epoch; give their number by stop: {training_iteration: N}"),
    "minibatch_size": Refused("the size of a minibatch is train_batch_size_per_learner"),
    "shuffle_batch_per_epoch": Refused("the dataset is shuffled in every epoch; leave it out"),
    "input_": Refused("the option dataset names the data"),
    **_each(Refused("the spaces are those of the dataset"), "observation_space action_space"),
    **_each(
        Refused("chunks are gathered from the dataset without RLlib's connectors; change the dataset"),
        "_learner_connector add_default_connectors_to_learner_pipeline",
    ),
    **_each(Honoured("check_classes: it must extend this package's"), "offline_data_class"),
}
EFFECTS: Mapping[str, Mapping[str, Effect]] = {
    "FlowBC": {**_SHARED, **_FLOW_BC},
    "ScoreFlow": {**_SHARED, **_SCOREFLOW},
}
# Attributes of `AlgorithmConfig` that users know by another name.
SHOWN_AS: Mapping[str, str] = {
    "input_": "input",
    "framework_str": "framework",
    "callbacks_class": "callbacks",
    "lambda_": "lambda",
    "_learner_class": "learner_class",
    "_learner_connector": "learner_connector",
    "_env_to_module_connector": "env_to_module_connector",
    "_module_to_env_connector": "module_to_env_connector",
    "_model_config": "model_config",
    "_rl_module_spec": "rl_module_spec",
    "_is_atari": "is_atari",
    "_train_batch_size_per_learner": "train_batch_size_per_learner",
    **{name: name.removeprefix("callbacks_") for name in _SHARED if name.startswith("callbacks_on_")},
    "callbacks_on_sample_end": "on_sample_end",
    "callbacks_on_env_runners_recreated": "on_env_runners_recreated",
}
OF_OLD_STACK = frozenset(name for name, effect in _SHARED.items() if effect in (_OLD_STACK, _DROPPED))
"""Options that no algorithm looks at in the new API stack."""
