"""Options of RLlib's own algorithms that nothing looks at in its new API stack: every value but the default is refused.

Written for Ray 2.60. What RLlib marks itself, as dropped or as of its old API stack, is found by looking; the tables
hold what it does not mark. A test walks all options of its algorithms.
"""

import functools
import inspect
import re
from collections.abc import Hashable, Mapping
from typing import Any

from rllib_scoreflow.algorithms.common.rllib_options import BOOKKEEPING, OF_OLD_STACK
from rllib_scoreflow.experiments.renames.config_keys import CONFIG_KEYS
from rllib_scoreflow.experiments.renames.table import Removed

_MARK = re.compile(r"#\s*@OldAPIStack", re.IGNORECASE)
_DROPPED = "= DEPRECATED_VALUE"
_ASSIGNED = re.compile(r"^\s*self\.(\w+)(?:\s*:[^=]+)?\s*=[^=]")
# Marked, or near a mark, and looked at all the same.
_STILL_READ = frozenset({"train_batch_size", "num_gpus", *BOOKKEEPING})
# Those that learn from recorded data.
OFFLINE = ("BC", "MARWIL", "CQL")


def _each(reason: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), reason)


_ALL = {
    **_each(
        "EnvRunners' networks are not compiled; set torch_compile_learner",
        "torch_compile_worker torch_compile_worker_dynamo_backend torch_compile_worker_dynamo_mode",
    ),
    **_each("masks are the RLModule's own affair; give one that looks at them", "action_mask_key"),
    **_each("observations are never compressed; drop the key", "compress_observations"),
    **_each(
        "RLlib's reader does not look at it; give input_read_method_kwargs",
        "input_spaces_jsonable shuffle_buffer_size",
    ),
    **_each("recorded actions are taken as they are; record them so", "actions_in_input_normalized"),
    **_each("the Learner's connectors compute advantages; drop the key", "postprocess_inputs"),
    **_each("a Learner of your own alone looks at it; set both in a Python file", "learner_config_dict"),
    **_each("set output_max_rows_per_file instead", "output_max_file_size"),
    **_each("nothing looks at it; drop the key", "offline_sampling prelearner_module_synch_period"),
    **_each(
        "nothing looks at it; drop the key",
        "validate_offline_eval_runners_after_construction broadcast_offline_eval_runner_states",
    ),
}
_NO_MINIBATCHES = "an update is one batch of train_batch_size_per_learner; set that"
_NO_EPOCHS = "set training_intensity, how many steps are learnt from for each that is sampled"
_DATASET_EPOCHS = "set dataset_num_iters_per_learner, the number of updates in an iteration"
_READS_NO_DATA = "this algorithm learns from what it samples; run BC, MARWIL or CQL"
_FILLS_NO_BUFFER = "CQL reads its dataset without a replay buffer; drop the key"
_VTRACE = "its advantages are V-trace's, without a lambda; drop the key"
_RETURNS = "behaviour cloning has no returns; run MARWIL, or drop the key"
_OFFLINE_OPTIONS = (
    "offline_data_class input_read_method input_read_method_kwargs input_read_schema input_read_episodes "
    "input_read_sample_batches input_read_batch_size input_filesystem input_filesystem_kwargs input_compress_columns "
    "materialize_data materialize_mapped_data map_batches_kwargs iter_batches_kwargs ignore_final_observation "
    "prelearner_class prelearner_buffer_class prelearner_buffer_kwargs prelearner_use_recorded_module_states "
    "dataset_num_iters_per_learner input_"
)
_SYNCHRONOUS = {
    **_each(
        "only IMPALA and APPO have such actors; drop the key",
        "num_aggregator_actors_per_learner max_requests_in_flight_per_aggregator_actor use_env_runner_state_server "
        "env_runner_state_server_max_concurrency",
    ),
}
_FROM_BUFFER = {**_each(_NO_MINIBATCHES, "minibatch_size shuffle_batch_per_epoch"), "num_epochs": _NO_EPOCHS}
_FROM_DATASET = {
    **_each(_NO_MINIBATCHES, "minibatch_size shuffle_batch_per_epoch"),
    "num_epochs": _DATASET_EPOCHS,
    "num_env_runners": "training samples nothing; set evaluation_num_env_runners",
}
_ONLINE = _each(_READS_NO_DATA, _OFFLINE_OPTIONS)
_SAC_UNREAD = _each("nothing looks at it; drop the key", "_deterministic_loss _use_beta_distribution")
_OF_ALGORITHM: Mapping[str, Mapping[str, str]] = {
    "PPO": {**_ONLINE, **_SYNCHRONOUS, "use_gae": "GAE is always used; use_gae: false is lambda: 1.0"},
    "DQN": {
        **_ONLINE,
        **_SYNCHRONOUS,
        **_FROM_BUFFER,
        **_each("RLlib's DQN has no noisy networks any more; explore by epsilon", "noisy sigma0"),
        "adam_epsilon": "override configure_optimizers_for_module() in a Learner of your own",
        "before_learn_on_batch": "give learner_connector in a Python file",
        "categorical_distribution_temperature": "actions are the greedy ones, or random by epsilon; drop the key",
    },
    "SAC": {**_ONLINE, **_SYNCHRONOUS, **_FROM_BUFFER, **_SAC_UNREAD},
    "APPO": {
        **_ONLINE,
        **_each("APPO always computes V-trace; drop the key", "use_gae target_worker_clipping"),
        "epsilon": "Learners use Adam; override configure_optimizers_for_module() in a Learner of your own",
        "lambda_": _VTRACE,
        "timeout_s_aggregator_manager": "aggregators are never waited for; drop the key",
    },
    "IMPALA": {**_ONLINE, "timeout_s_aggregator_manager": "aggregators are never waited for; drop the key"},
    "BC": {
        **_SYNCHRONOUS,
        **_FROM_DATASET,
        **_each(_RETURNS, "gamma lambda_ vf_coeff moving_average_sqd_adv_norm_update_rate"),
        **_each(_RETURNS, "moving_average_sqd_adv_norm_start"),
        "beta": "it is MARWIL whose beta is 0; run MARWIL",
    },
    "MARWIL": {**_SYNCHRONOUS, **_FROM_DATASET},
    "CQL": {
        **_SYNCHRONOUS,
        **_FROM_DATASET,
        **_SAC_UNREAD,
        **_each("RLlib's CQL has no Lagrangian any more; set min_q_weight", "lagrangian lagrangian_thresh"),
        **_each(
            _FILLS_NO_BUFFER,
            "num_steps_sampled_before_learning_starts training_intensity store_buffer_in_checkpoints",
        ),
    },
    "DreamerV3": {
        **_ONLINE,
        **_SYNCHRONOUS,
        **_each("training_ratio says how much is learnt; drop the key", "num_epochs minibatch_size"),
        **_each("batches are drawn at random; drop the key", "shuffle_batch_per_epoch"),
        **_each("set world_model_lr, actor_lr and critic_lr", "lr"),
        **_each("its batch is batch_size_B * batch_length_T", "train_batch_size_per_learner train_batch_size"),
        **_each(
            "set world_model_grad_clip_by_global_norm, actor_grad_clip_by_global_norm and "
            "critic_grad_clip_by_global_norm",
            "grad_clip grad_clip_by",
        ),
        **_each("its networks are chosen by model_size", "model_config"),
        **_each("nothing looks at it; drop the key", "train_critic intrinsic_rewards_scale"),
    },
}


# What EnvRunners that evaluate look at, though methods for learning set it; the rest acts with what is trained.
_READ_IN_EVALUATION = frozenset({"epsilon", "torch_compile_worker"})
_METHODS_OF_LEARNING = ("training", "learners", "evaluation", "checkpointing")
_OF_TRIAL = "it is of the whole trial; set it in config itself"
_OF_LEARNING = "evaluations learn nothing; set it in config itself, or drop the key"
_SET_BY_EVALUATION: Mapping[str, str] = {
    "num_env_runners": "set evaluation_num_env_runners",
    **_each("set evaluation_duration and evaluation_duration_unit", "rollout_fragment_length batch_mode"),
    **_each(
        _OF_TRIAL,
        "min_time_s_per_iteration min_sample_timesteps_per_iteration min_train_timesteps_per_iteration num_gpus "
        "num_cpus_for_main_process custom_resources_for_main_process placement_strategy log_gradients "
        "torch_compile_learner torch_compile_learner_dynamo_backend torch_compile_learner_dynamo_mode "
        "torch_compile_learner_what_to_compile torch_ddp_kwargs torch_skip_nan_gradients offline_evaluation_duration "
        "offline_evaluation_parallel_to_training dataset_num_iters_per_eval_runner policies_to_train "
        "algorithm_config_overrides_per_module",
    ),
    "model_config": "evaluations act with the networks that are trained; set it in config itself, or drop the key",
}


def why_without_effect(algorithm: type[Any], base: str, attribute: str) -> str | None:
    """Return why an option of one of RLlib's algorithms has no effect, or None where it has one.

    Args:
        algorithm: an Algorithm class.
        base: name of RLlib's own algorithm that it is or extends.
        attribute: of its config.
    """
    if base not in _OF_ALGORITHM:
        return None
    if _is_own(algorithm):
        reason = {**_ALL, **_OF_ALGORITHM[base]}.get(attribute)
        if reason is not None:
            return reason
    entry = CONFIG_KEYS.get(attribute)
    if is_dropped(algorithm, attribute):
        known = entry.reason if isinstance(entry, Removed) else None
        return known or "RLlib has it for its old API stack only, which is not run any more; drop the key"
    return None


def why_without_effect_in_evaluation(algorithm: type[Any], base: str, attribute: str) -> str | None:
    """Return why an option of ``evaluation_config`` has no effect, or None where it has one.

    Args:
        algorithm: an Algorithm class.
        base: name of RLlib's own algorithm that it is or extends.
        attribute: of its config.
    """
    if base not in _OF_ALGORITHM or not _is_own(algorithm) or attribute in _READ_IN_EVALUATION:
        return None
    if attribute in _SET_BY_EVALUATION:
        return _SET_BY_EVALUATION[attribute]
    config_class: Any = type(algorithm.get_default_config())
    return _OF_LEARNING if attribute in _set_by(config_class) else None


@functools.cache
def _set_by(config_class: Hashable) -> frozenset[str]:
    """The options that the methods of a config for learning take."""
    classes: tuple[type[Any], ...] = getattr(config_class, "__mro__", ())
    methods = [vars(base)[name] for base in classes for name in _METHODS_OF_LEARNING if name in vars(base)]
    return frozenset(name for method in methods for name in inspect.signature(method).parameters) | {"lambda_"}


def is_dropped(algorithm: type[Any], attribute: str) -> bool:
    """Whether RLlib marks an option as dropped, or as of its old API stack.

    Args:
        algorithm: an Algorithm class.
        attribute: of its config.
    """
    config_class: Any = type(algorithm.get_default_config())
    return attribute in OF_OLD_STACK or attribute in _old_options(config_class)


def _is_own(algorithm: type[Any]) -> bool:
    """Whether an algorithm is RLlib's own: a user's may look at options that RLlib's does not."""
    return algorithm.__module__.startswith("ray.rllib.")


@functools.cache
def _old_options(config_class: Hashable) -> frozenset[str]:
    """Options that RLlib marks as dropped, or as of its old API stack."""
    marked: dict[str, bool] = {}
    classes: tuple[type[Any], ...] = getattr(config_class, "__mro__", ())
    for base in reversed(classes):
        if base.__module__.startswith("ray.rllib.") and "__init__" in vars(base):
            marked.update(_marks_of(inspect.getsource(vars(base)["__init__"])))
    return frozenset(name for name, old in marked.items() if old) - _STILL_READ


def _marks_of(source: str) -> dict[str, bool]:
    """Option -> whether its assignment is marked, by itself or by a comment at the head of its block."""
    found: dict[str, bool] = {}
    in_block = False
    for line in source.splitlines():
        if not line.strip():
            in_block = False
        elif line.strip().startswith("#"):
            in_block = bool(_MARK.fullmatch(line.strip())) or in_block
        elif (assigned := _ASSIGNED.match(line)) is not None:
            name = assigned[1]
            found[name] = in_block or _MARK.search(line) is not None or _DROPPED in line
    return found
