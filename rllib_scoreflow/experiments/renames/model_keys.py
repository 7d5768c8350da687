"""Keys of ``model:``, of which RLlib's `DefaultModelConfig` is what is left."""

from collections.abc import Mapping

from rllib_scoreflow.experiments.renames.table import Entry, Removed, Renamed, Table

_OWN_MODULE = "write an RLModule, and give it by rl_module(rl_module_spec=...) in a Python file"
_ATTENTION = "RLlib's default networks have no attention any more; use use_lstm, or an RLModule of your own"
_IMAGES = "wrap the environment, or give a connector, to shape its images"
_CONNECTOR = "give the connector PrevActionsPrevRewards in a Python file"
# Spelled alike: weights are kernels now, and configs are kwargs.
_STACKS = {"fcnet": "fcnet", "conv": "conv", "post_fcnet": "head_fcnet", "lstm": "lstm"}
_OLD_STACKS = {"fcnet": "weights", "conv": "kernel", "post_fcnet": "weights", "lstm": "weights"}


def _each(reason: str, names: str) -> dict[str, Entry]:
    return dict.fromkeys(names.split(), Removed(reason))


MODEL_KEYS: Table = {
    "post_fcnet_hiddens": Renamed("head_fcnet_hiddens"),
    "post_fcnet_activation": Renamed("head_fcnet_activation"),
    **{
        f"{old}_{_OLD_STACKS[old]}_initializer{before}": Renamed(f"{new}_kernel_initializer{after}")
        for old, new in _STACKS.items()
        for before, after in (("", ""), ("_config", "_kwargs"))
        if f"{old}_{_OLD_STACKS[old]}{before}" != f"{new}_kernel{after}"
    },
    **{
        f"{old}_bias_initializer{before}": Renamed(f"{new}_bias_initializer{after}")
        for old, new in _STACKS.items()
        for before, after in (("", ""), ("_config", "_kwargs"))
        if f"{old}{before}" != f"{new}{after}"
    },
    **_each(_OWN_MODULE, "custom_model custom_model_config custom_action_dist custom_options no_final_linear"),
    **_each(_OWN_MODULE, "conv_transpose_kernel_initializer conv_transpose_kernel_initializer_config"),
    **_each(_OWN_MODULE, "conv_transpose_bias_initializer conv_transpose_bias_initializer_config encoder_latent_dim"),
    **_each(_OWN_MODULE, "_use_default_native_models"),
    **_each(
        _ATTENTION,
        "use_attention attention_num_transformer_units attention_dim attention_num_heads attention_head_dim "
        "attention_memory_inference attention_memory_training attention_position_wise_mlp_dim "
        "attention_init_gru_gate_bias attention_use_n_prev_actions attention_use_n_prev_rewards use_transformer",
    ),
    **_each(_IMAGES, "framestack dim grayscale zero_mean num_framestacks"),
    **_each("change observations with a connector, or in the environment", "custom_preprocessor"),
    **_each(_CONNECTOR, "lstm_use_prev_action lstm_use_prev_reward lstm_use_prev_action_reward"),
    **_each("the old API stack's networks alone looked at it; drop the key", "_time_major always_check_shapes"),
    **_each(
        "there are no preprocessors any more; drop the key", "_disable_preprocessor_api _disable_action_flattening"
    ),
}

# Keys of `DefaultModelConfig` that the networks of an algorithm do not look at, and why.
_HEADS = "RLlib initialises the last layers of this algorithm's networks itself; drop the key"
_LAYERNORM = "the last layers of this algorithm's networks have no layer normalisation; drop the key"
_SHARING = "this algorithm has no value branch to share; drop the key"
_FUSION = "only SAC and CQL have networks of observation and action in one; drop the key"
_GAUSSIAN = "its policy is a squashed Gaussian whose standard deviation the network gives; drop the key"
_DISCRETE = "its actions are discrete; drop the key"


def _reasons(reason: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), reason)


_HEADS_UNREAD = _reasons(
    _HEADS,
    "head_fcnet_kernel_initializer head_fcnet_kernel_initializer_kwargs head_fcnet_bias_initializer "
    "head_fcnet_bias_initializer_kwargs",
)
_FUSION_UNREAD = _reasons(
    _FUSION,
    "fusionnet_hiddens fusionnet_activation fusionnet_kernel_initializer fusionnet_kernel_initializer_kwargs "
    "fusionnet_bias_initializer fusionnet_bias_initializer_kwargs",
)
_CONTINUOUS = {
    **_HEADS_UNREAD,
    "head_fcnet_use_layernorm": _LAYERNORM,
    "vf_share_layers": _SHARING,
    "free_log_std": _GAUSSIAN,
}
UNREAD: Mapping[str, Mapping[str, str]] = {
    **{name: {**_HEADS_UNREAD, **_FUSION_UNREAD} for name in ("PPO", "APPO", "IMPALA", "MARWIL")},
    "BC": {
        **_HEADS_UNREAD,
        **_FUSION_UNREAD,
        "head_fcnet_use_layernorm": _LAYERNORM,
        "vf_share_layers": _SHARING,
    },
    "SAC": _CONTINUOUS,
    "CQL": _CONTINUOUS,
    "DQN": {
        **_FUSION_UNREAD,
        **_reasons(_DISCRETE, "free_log_std log_std_clip_param"),
        "head_fcnet_use_layernorm": _LAYERNORM,
        "vf_share_layers": _SHARING,
    },
}
