"""Defaults that earlier versions of RLlib had for what is gone: a file that writes one out asks for nothing."""

from collections.abc import Mapping
from typing import Any

OLD_DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "collect_metrics_timeout": (180, -1),
    "metrics_episode_collection_timeout_s": (60.0, 60, 180.0, 180),
    "eager_max_retraces": (20,),
    "tf_session_args": (
        {
            "intra_op_parallelism_threads": 2,
            "inter_op_parallelism_threads": 2,
            "gpu_options": {"allow_growth": True},
            "log_device_placement": False,
            "device_count": {"CPU": 1},
            "allow_soft_placement": True,
        },
    ),
    "local_tf_session_args": ({"intra_op_parallelism_threads": 8, "inter_op_parallelism_threads": 8},),
    "num_multi_gpu_tower_stacks": (1,),
    "minibatch_buffer_size": (1,),
    "num_data_loader_buffers": (1,),
    "num_data_load_threads": (16,),
    "replay_buffer_num_slots": (0, 100),
    "learner_queue_timeout": (300,),
    "replay_proportion": (0.0, 0),
    "input_evaluation": (["is", "wis"],),
    "replay_mode": ("independent",),
    "replay_sequence_length": (1,),
    "memory": (0,),
    "object_store_memory": (0,),
    "memory_per_worker": (0,),
    "object_store_memory_per_worker": (0,),
    "policy_map_capacity": (100,),
    "min_time_s_per_reporting": (None,),
    "min_train_timesteps_per_reporting": (None,),
    "min_sample_timesteps_per_reporting": (None,),
    "always_attach_evaluation_results": (False,),
    "_disable_execution_plan_api": (False,),
    "final_prioritized_replay_beta": (0.4,),
    "prioritized_replay_beta_annealing_timesteps": (20_000,),
    "_lr_vf": (0.0005,),
    "preprocessor_pref": ("deepmind",),
}
# Of ``model:``, beside those that RLlib itself still has.
OLD_MODEL_DEFAULTS: Mapping[str, Any] = {
    "_use_default_native_models": False,
    "lstm_use_prev_action_reward": -1,
    "custom_options": {},
    "use_transformer": False,
    "num_framestacks": 0,
}


def is_old_default(key: str, value: Any) -> bool:
    """Whether a value of a key that is gone is what the key had of itself.

    Args:
        key: of an experiment's config.
        value: what the file gives it.
    """
    return any(value == usual and type(value) is type(usual) for usual in OLD_DEFAULTS.get(key, ()))


def is_off(value: Any) -> bool:
    """Whether a value of a key that is gone left it off or empty."""
    return value is None or value is False or value in ({}, [])
