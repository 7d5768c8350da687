"""Keys of ``config:`` that RLlib renamed or removed.

What needs more than another name (``model``, ``observation_filter``, ``num_gpus``, ...) is in `translation`.
"""

from rllib_scoreflow.experiments.renames.table import Always, Entry, Removed, Renamed, Table

FAKE_GPUS = "_fake_gpus"
UNPROCESSED = "_disable_preprocessor_api"
_NO_TENSORFLOW = "TensorFlow is gone from RLlib and torch needs no such setting; drop the key"
_NEW_STACK = "RLlib's old API stack is not run any more; drop the key"


def _renamed(pairs: str) -> dict[str, Entry]:
    names = iter(pairs.split())
    return {old: Renamed(new) for old, new in zip(names, names, strict=True)}


def _removed(reason: str, names: str) -> dict[str, Entry]:
    return dict.fromkeys(names.split(), Removed(reason))


def _always(value: object, otherwise: str, names: str) -> dict[str, Entry]:
    return dict.fromkeys(names.split(), Always(value, otherwise))


CONFIG_KEYS: Table = {
    **_renamed("""
        num_sgd_iter                                num_epochs
        sgd_minibatch_size                          minibatch_size
        shuffle_sequences                           shuffle_batch_per_epoch
        num_workers                                 num_env_runners
        num_rollout_workers                         num_env_runners
        num_envs_per_worker                         num_envs_per_env_runner
        num_cpus_per_worker                         num_cpus_per_env_runner
        num_gpus_per_worker                         num_gpus_per_env_runner
        custom_resources_per_worker                 custom_resources_per_env_runner
        num_cpus_for_driver                         num_cpus_for_main_process
        num_cpus_for_local_worker                   num_cpus_for_main_process
        num_learner_workers                         num_learners
        num_cpus_per_learner_worker                 num_cpus_per_learner
        num_gpus_per_learner_worker                 num_gpus_per_learner
        num_aggregation_workers                     num_aggregator_actors_per_learner
        max_requests_in_flight_per_aggregator_worker max_requests_in_flight_per_aggregator_actor
        max_requests_in_flight_per_sampler_worker   max_requests_in_flight_per_env_runner
        max_sample_requests_in_flight_per_worker    max_requests_in_flight_per_env_runner
        validate_workers_after_construction         validate_env_runners_after_construction
        recreate_failed_workers                     restart_failed_env_runners
        ignore_worker_failures                      ignore_env_runner_failures
        max_num_worker_restarts                     max_num_env_runner_restarts
        delay_between_worker_restarts_s             delay_between_env_runner_restarts_s
        num_consecutive_worker_failures_tolerance   num_consecutive_env_runner_failures_tolerance
        worker_health_probe_timeout_s               env_runner_health_probe_timeout_s
        worker_restore_timeout_s                    env_runner_restore_timeout_s
        evaluation_num_workers                      evaluation_num_env_runners
        evaluation_num_episodes                     evaluation_duration
        timesteps_per_iteration                     min_sample_timesteps_per_iteration
        min_sample_timesteps_per_reporting          min_sample_timesteps_per_iteration
        min_train_timesteps_per_reporting           min_train_timesteps_per_iteration
        min_iter_time_s                             min_time_s_per_iteration
        min_time_s_per_reporting                    min_time_s_per_iteration
        metrics_smoothing_episodes                  metrics_num_episodes_for_smoothing
        learning_starts                             num_steps_sampled_before_learning_starts
        target_update_frequency                     target_network_update_freq
        grad_norm_clipping                          grad_clip
        Q_model                                     q_model_config
        policy_model                                policy_model_config
        model_config_dict                           model_config
        sample_batch_size                           rollout_fragment_length
        sgd_stepsize                                lr
        sgd_batchsize                               minibatch_size
    """),
    **_always(True, _NEW_STACK, "enable_rl_module_and_learner enable_env_runner_and_connector_v2 enable_connectors"),
    **_always(True, _NEW_STACK, "_enable_new_api_stack _enable_rl_module_api _enable_learner_api"),
    **_always(True, "RLlib has no execution plans any more; drop the key", "_disable_execution_plan_api"),
    **_always(True, "every result holds the last evaluation's; drop the key", "always_attach_evaluation_results"),
    **_always(
        False,
        "an episode that reaches its time limit is truncated, and the environment is reset; drop the key",
        "soft_horizon",
    ),
    **_always(
        True, "the end of a time limit is a truncation and never a terminal state; drop the key", "no_done_at_end"
    ),
    **_always(True, "IMPALA and APPO always compute V-trace; drop the key, or run PPO", "vtrace"),
    **_always(False, "no step of a rollout is dropped any more; drop the key", "vtrace_drop_last_ts"),
    **_always(False, "EnvRunners always sample when they are asked; drop the key", "sample_async"),
    **_removed(
        _NO_TENSORFLOW,
        "eager_tracing eager_max_retraces tf_session_args local_tf_session_args enable_tf1_exec_eagerly "
        "_tf_policy_handles_more_than_one_loss _separate_vf_optimizer _lr_vf",
    ),
    **_removed(
        "give rl_module overrides or a Learner of your own in a Python file",
        "_use_default_native_models",
    ),
    **_removed("the Learners split the batch themselves; drop the key", "num_multi_gpu_tower_stacks"),
    **_removed(
        "batches wait in a queue and are not replayed; drop the key, or run APPO with circular_buffer_num_batches",
        "minibatch_buffer_size replay_proportion replay_buffer_num_slots learner_queue_timeout",
    ),
    **_always(0.0, "batches are not replayed; drop the key", "replay_ratio"),
    **_removed(
        "Learners always use Adam; override configure_optimizers_for_module() in a Learner of your own",
        "opt_type decay momentum optimizer adam_epsilon",
    ),
    **_removed(
        "the environment's own curriculum changes its task now, by a callback on_train_result; drop the key",
        "env_task_fn",
    ),
    **_removed(
        "nothing is drawn while training; `rllib evaluate --render` shows the policy", "monitor record_env render_env"
    ),
    **_removed(
        "RLlib's offline estimators are gone with the old API stack; evaluate in an environment, or set "
        "offline_evaluation_interval",
        "input_evaluation off_policy_estimation_methods ope_split_batch_by_episode",
    ),
    **_removed(
        "give callbacks and a custom_evaluation_function instead",
        "custom_async_evaluation_function after_train_step",
    ),
    **_removed("set evaluation_parallel_to_training instead", "enable_async_evaluation"),
    **_removed("set env_runner_cls in a Python file instead", "worker_cls sample_collector"),
    **_removed("only Gymnasium's interface is taken; drop the key", "auto_wrap_old_gym_envs"),
    **_removed("RLModules are never swapped out; drop the key", "policy_map_cache policy_map_capacity"),
    **_removed("RLModules are never swapped out; drop the key", "policy_states_are_swappable"),
    **_removed("change observations with a connector, or in the environment", "observation_fn preprocessor_pref"),
    **_removed(
        "EnvRunners of the new API stack report when they have sampled; drop the key",
        "collect_metrics_timeout metrics_episode_collection_timeout_s sampler_perf_stats_ema_coef",
    ),
    **_always(False, "RLlib sets it itself; drop the key", "in_evaluation"),
    **_always(False, "rewards reach the Learner as they are; clip them in a gymnasium wrapper", "clip_rewards"),
    **_always(False, "the Learners split the batch themselves; drop the key", "simple_optimizer"),
    **_always(True, "RLlib's networks always have a value branch; drop the key", "use_critic"),
    **_always(True, "actions are never flattened; drop the key", "_disable_action_flattening"),
    **_always(
        True,
        "filters are brought together as merge_env_runner_states and broadcast_env_runner_states say; set those",
        "synchronize_filter synchronize_filters",
    ),
    **_always(
        False, "EnvRunners sample side by side, and each waits for its own; drop the key", "straggler_mitigation"
    ),
    **_always(True, "there is no other way any more; drop the key", "use_exec_api _use_trajectory_view_api"),
    **_removed(
        "give exploration_config, or epsilon, a schedule of [step, value]",
        "schedule_max_timesteps exploration_fraction exploration_initial_eps exploration_final_eps "
        "exploration_final_scale exploration_should_anneal exploration_noise_type per_worker_exploration",
    ),
    **_removed(
        "beta stays as it is; set replay_buffer_config.beta",
        "beta_annealing_fraction final_prioritized_replay_beta prioritized_replay_beta_annealing_timesteps",
    ),
    **_removed("Ray Data reads recordings without a buffer of steps; drop the key", "replay_buffer_size"),
    **_removed("the command logs to TensorBoard, and by --wandb-key and --mlflow-uri; drop the key", "logger_config"),
    **_removed(
        "Ray keeps no memory for trials; drop the key",
        "memory object_store_memory memory_per_worker object_store_memory_per_worker",
    ),
    **_removed("the Learners load batches themselves; drop the key", "num_data_loader_buffers num_data_load_threads"),
    **_removed("results hold each metric once; drop the key", "keep_per_episode_custom_metrics"),
    **_removed("EnvRunners step their environments without batching by time; drop the key", "remote_env_batch_wait_ms"),
    **_removed("it was for tests of the old API stack; drop the key", f"fake_sampler {FAKE_GPUS}"),
    **_removed("checkpoints hold every RLModule; drop the key", "checkpoint_trainable_policies_only"),
    **_removed("`Algorithm.get_module()` gives the torch module; drop the key", "export_native_model_files"),
    **_removed(
        "set the variables in the shell that starts the command",
        "extra_python_environs_for_driver extra_python_environs_for_worker",
    ),
    **_removed("a replay buffer samples as many steps as a batch has; drop the key", "replay_batch_size replay_mode"),
    **_removed("set model_config.max_seq_len instead", "replay_sequence_length"),
    **_removed("it belonged to the old API stack; drop the key", "worker_side_prioritization use_state_preprocessor"),
}
# What the same old name is called in one algorithm.
OF_ALGORITHM: dict[str, Table] = {
    "APPO": {"minibatch_buffer_size": Renamed("circular_buffer_num_batches")},
    "CQL": {"timesteps_per_iteration": Renamed("min_train_timesteps_per_iteration")},
}
