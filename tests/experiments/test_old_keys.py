"""Keys of earlier versions of RLlib: translated ones have their effect, the others are refused by name."""

import importlib
import io
import logging

import gymnasium as gym
import pytest

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.experiments.checks.algorithms import find_algorithm, option_defaults
from rllib_scoreflow.experiments.checks.config import build_config, check_config, validate
from rllib_scoreflow.experiments.identity import identify
from rllib_scoreflow.experiments.renames.config_keys import CONFIG_KEYS
from rllib_scoreflow.experiments.renames.table import Renamed
from rllib_scoreflow.experiments.spec import Experiment
from rllib_scoreflow.experiments.translation import connectors
from rllib_scoreflow.experiments.translation.translate import translate

pytestmark = [pytest.mark.filterwarnings("ignore")]


def translated(run: str = "PPO", env: str = "CartPole-v1", **config: object) -> Experiment:
    return translate(Experiment("exp", "f.yaml", run, env=env, config=config), find_algorithm(run, "here"))


def built(run: str = "PPO", env: str = "CartPole-v1", **config: object):
    """The AlgorithmConfig that RLlib trains with."""
    algorithm = find_algorithm(run, "here")
    experiment = translated(run, env, **config)
    checked = check_config(experiment, algorithm)
    validate(experiment, algorithm, checked)
    return build_config(experiment, algorithm, checked)


def refusal(run: str = "PPO", env: str = "CartPole-v1", **config: object) -> str:
    with pytest.raises(InputError) as caught:
        built(run, env, **config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


OLD_AND_NEW = [(old, entry.new) for old, entry in CONFIG_KEYS.items() if isinstance(entry, Renamed)]


@pytest.mark.parametrize(("old", "new"), OLD_AND_NEW)
def test_a_renamed_key_has_a_counterpart_and_is_said(old, new):
    options = option_defaults(find_algorithm("IMPALA", "here")) | option_defaults(find_algorithm("SAC", "here"))
    assert new in options
    value = {"fcnet_hiddens": [3]} if "model" in new else 3
    run = "SAC" if new in ("q_model_config", "policy_model_config") else "PPO"
    other = {"q_model_config": "policy_model", "policy_model_config": "Q_model"}.get(new)
    experiment = translated(run, **{old: value}, **({other: value} if other else {}))
    assert f"{old} is called {new} now" in experiment.notes
    if run == "PPO":
        assert experiment.config[new] == value


def test_batches_and_workers_are_what_the_old_names_say():
    config = built(num_sgd_iter=7, sgd_minibatch_size=64, train_batch_size=512, num_workers=3, num_envs_per_worker=2)
    assert (config.num_epochs, config.minibatch_size, config.total_train_batch_size) == (7, 64, 512)
    assert (config.num_env_runners, config.num_envs_per_env_runner) == (3, 2)
    assert config.get_rollout_fragment_length() == 512 // (3 * 2) + 1  # RLlib rounds up


def test_both_names_with_two_values_are_refused():
    assert "keep num_epochs" in refusal(num_sgd_iter=7, num_epochs=8)
    assert built(num_sgd_iter=7, num_epochs=7).num_epochs == 7


def test_a_batch_is_shared_among_the_learners_that_gpus_become():
    experiment = translated(num_gpus=4, train_batch_size=4000)
    assert experiment.config["num_learners"] == 4
    assert experiment.config["num_gpus_per_learner"] == 1
    assert experiment.config["train_batch_size_per_learner"] == 1000


def test_schedules_are_the_rates_themselves():
    config = built(lr_schedule=[[0, 1e-3], [1000, 1e-5]], entropy_coeff_schedule=[[100, 0.1], [200, 0.0]])
    assert config.lr == [[0, 1e-3], [1000, 1e-5]]
    assert config.entropy_coeff == [[0, 0.1], [100, 0.1], [200, 0.0]]


def module_of(config):
    """The network that RLlib builds of a config."""
    env = gym.make(config.env)
    return config.get_rl_module_spec(spaces={"default_policy": (env.observation_space, env.action_space)}).build()


def linear_widths(module) -> list[int]:
    torch = importlib.import_module("torch")
    return [part.out_features for part in module.modules() if isinstance(part, torch.nn.Linear)]


def test_widths_and_activation_of_model_are_those_of_the_network():
    torch = importlib.import_module("torch")
    module = module_of(built(model={"fcnet_hiddens": [17, 19], "fcnet_activation": "relu", "vf_share_layers": True}))
    assert linear_widths(module) == [17, 19, 2, 1]
    assert any(isinstance(part, torch.nn.ReLU) for part in module.modules())
    assert not any(isinstance(part, torch.nn.Tanh) for part in module.modules())
    separate = module_of(built(model={"fcnet_hiddens": [17, 19], "vf_share_layers": False}))
    assert sorted(linear_widths(separate)) == sorted([17, 19, 17, 19, 2, 1])


def test_lstm_of_model_is_in_the_network():
    torch = importlib.import_module("torch")
    config = built(model={"use_lstm": True, "lstm_cell_size": 23, "max_seq_len": 11, "fcnet_hiddens": [8]})
    cells = [part.hidden_size for part in module_of(config).modules() if isinstance(part, torch.nn.LSTM)]
    assert set(cells) == {23}
    assert config.model_config["max_seq_len"] == 11


def test_hiddens_of_dqn_are_its_heads_layers():
    assert 29 in linear_widths(module_of(built("DQN", hiddens=[29])))


@pytest.mark.parametrize(
    ("model", "word"),
    [
        ({"custom_model": "mine"}, "RLModule"),
        ({"use_attention": True}, "attention"),
        ({"framestack": False}, "images"),
        ({"fcnet_hidens": [3]}, "fcnet_hiddens"),
        ({"free_log_stdd": True}, "free_log_std"),
        ({"lstm_use_prev_action": True}, "connector"),
    ],
)
def test_keys_of_model_without_a_counterpart_are_refused(model, word):
    sentence = refusal(model=model)
    assert next(iter(model)) in sentence
    assert word in sentence


def test_sac_has_one_description_of_both_networks():
    same = {"fcnet_hiddens": [31, 37], "fcnet_activation": "tanh"}
    config = built("SAC", "Pendulum-v1", Q_model=same, policy_model=same, num_workers=0)
    assert config.model_config["fcnet_hiddens"] == [31, 37]
    assert "differ" in refusal("SAC", "Pendulum-v1", q_model_config={"fcnet_hiddens": [3]}, policy_model_config=same)


def test_learning_rates_of_sac_and_of_cql():
    rates = {"actor_learning_rate": 1e-3, "critic_learning_rate": 2e-3, "entropy_learning_rate": 3e-3}
    config = built("SAC", "Pendulum-v1", optimization=rates)
    assert (config.actor_lr, config.critic_lr, config.alpha_lr, config.lr) == (1e-3, 2e-3, 3e-3, None)
    assert "actor_lr" in refusal("SAC", "Pendulum-v1", lr=0.1)


def test_replay_buffers():
    config = built("SAC", "Pendulum-v1", buffer_size=500, prioritized_replay=False, learning_starts=77)
    assert config.replay_buffer_config["type"] == "EpisodeReplayBuffer"
    assert config.replay_buffer_config["capacity"] == 500
    assert config.num_steps_sampled_before_learning_starts == 77
    assert "capacity" in refusal("DQN", replay_buffer_config={"capacty": 3})
    assert "no replay buffer" in refusal("PPO", buffer_size=3)


def test_exploration_by_epsilon():
    explore = {"type": "EpsilonGreedy", "initial_epsilon": 0.9, "final_epsilon": 0.1, "epsilon_timesteps": 500}
    assert built("DQN", exploration_config=explore).epsilon == [[0, 0.9], [500, 0.1]]
    assert "RLModule" in refusal("DQN", exploration_config={"type": "SoftQ", "temperature": 0.5})


def test_the_observation_filter_is_its_connector():
    config = built(observation_filter="MeanStdFilter")
    env = gym.make_vec("CartPole-v1", num_envs=1)
    names = [type(piece).__name__ for piece in config.build_env_to_module_connector(env=env).connectors]
    assert "MeanStdFilter" in names
    assert built(observation_filter="NoFilter")._env_to_module_connector in (None, connectors.flatten)
    assert "MeanStdFilter" in refusal(observation_filter="Mean")


def test_observations_that_are_no_box_are_flattened_as_preprocessors_did():
    discrete, box = gym.make_vec("FrozenLake-v1", num_envs=1), gym.make_vec("CartPole-v1", num_envs=1)
    assert [type(piece).__name__ for piece in connectors.flatten(discrete)] == ["FlattenObservations"]
    assert connectors.flatten(box) == []
    assert built(env="FrozenLake-v1", num_workers=1)._env_to_module_connector is connectors.flatten
    assert built(env="FrozenLake-v1", num_env_runners=1)._env_to_module_connector is None


def test_a_horizon_is_the_environments_time_limit():
    config = built(horizon=20)
    assert gym.make(config.env, **config.env_config).spec.max_episode_steps == 20
    path = "ray.rllib.examples.env.stateless_cartpole.StatelessCartPole"
    experiment = translated(env=path, horizon=7)
    limited = importlib.import_module("rllib_scoreflow.envs.classes").make_env(
        experiment.env, experiment.config["env_config"]
    )
    limited.reset(seed=0)
    ends = [limited.step(limited.action_space.sample())[3] for _ in range(7)]
    assert ends[-1]


def test_several_agents_have_policies_and_a_function_of_their_names():
    mapping = "ray.rllib.examples.multi_agent_and_self_play.policy_mapping_fn.PolicyMappingFn"
    config = built(
        env="ray.rllib.examples.env.multi_agent.MultiAgentCartPole",
        multiagent={"policies": ["p0", "p1"], "policy_mapping_fn": {"type": mapping}},
    )
    assert set(config.policies) == {"p0", "p1"}
    assert config.policy_mapping_fn(1, None) == "p1"
    assert "without policy_mapping_fn" in refusal(multiagent={"policies": ["a"]})
    assert "cannot be imported" in refusal(multiagent={"policies": ["a"], "policy_mapping_fn": "no_module.f"})


@pytest.mark.parametrize(
    ("run", "config", "words"),
    [
        ("PPO", {"enable_rl_module_and_learner": False}, ["old API stack"]),
        ("PPO", {"enable_env_runner_and_connector_v2": False}, ["old API stack"]),
        ("PPO", {"_enable_learner_api": False}, ["old API stack"]),
        ("APPO", {"vtrace": False}, ["V-trace"]),
        ("PPO", {"simple_optimizer": True}, ["Learners"]),
        ("PPO", {"record_env": True}, ["--render"]),
        ("PPO", {"framework": "jax"}, ["torch"]),
        ("PPO", {"soft_horizon": True}, ["truncated"]),
        ("BC", {"input": "/no/such/folder"}, ["does not exist"]),
        ("CQL", {"input": "d4rl.hopper-medium-v0"}, ["FlowBC", "hopper-medium-v0"]),
    ],
)
def test_what_is_gone_is_refused_with_its_reason(run, config, words):
    sentence = refusal(run, **config)
    assert next(iter(config)) in sentence
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize("name", ["A3C", "TD3", "QMIX", "R2D2"])
def test_an_algorithm_that_is_gone_is_named_with_the_nearest(name):
    with pytest.raises(InputError, match=r"any more: RLlib has dropped it; run (PPO|SAC|DQN)"):
        find_algorithm(name, "here")


def test_the_key_of_a_translated_experiment_is_the_same_in_every_process():
    experiment = translated(observation_filter="MeanStdFilter", num_workers=0)
    config = check_config(experiment, find_algorithm("PPO", "here"))
    first = identify(experiment, config, None).digest

    def other(env=None, spaces=None, device=None):
        """Another function of that name, elsewhere in memory."""

    other.__name__ = other.__qualname__ = "filter_by_mean_and_std"
    changed = {key: other if value is connectors.filter_by_mean_and_std else value for key, value in config.items()}
    assert identify(experiment, changed, None).digest == first


def test_a_bad_value_is_told_under_the_name_that_the_file_has():
    algorithm = find_algorithm("PPO", "here")
    with pytest.raises(InputError, match=r"config\.num_workers \(now num_env_runners\) is 'two'"):
        check_config(translated(num_workers="two"), algorithm)


@pytest.mark.parametrize("run", ["BC", "MARWIL", "CQL"])
def test_what_learns_offline_asks_for_its_data(run):
    assert refusal(run) == f"f.yaml: exp: {run} learns from recorded data; give `config: {{input: PATH}}`."


@pytest.mark.parametrize("horizon", [0, -3, 2.5, "long", True])
def test_a_horizon_is_a_number_of_steps(horizon):
    assert f"config.horizon is {horizon!r}" in refusal(horizon=horizon)


def test_mutations_have_todays_names():
    settings = {"scheduler": "pbt", "scheduler_config": {"hyperparam_mutations": {"num_sgd_iter": [1, 2]}}}
    experiment = translate(Experiment("exp", "f.yaml", "PPO", settings=settings), find_algorithm("PPO", "here"))
    assert experiment.settings["scheduler_config"]["hyperparam_mutations"] == {"num_epochs": [1, 2]}
    assert experiment.notes == ("num_sgd_iter is called num_epochs now",)


def test_rllibs_warnings_about_settings_that_it_ignores_are_shown(monkeypatch):
    quiet = importlib.import_module("rllib_scoreflow.experiments.quiet")
    monkeypatch.setitem(quiet._chosen, "level", logging.ERROR)
    handler = logging.StreamHandler(io.StringIO())
    logging.getLogger("ray.rllib").addHandler(handler)
    levels = {name: logging.getLogger(name).level for name in ("ray", "ray.rllib", "ray.tune", "ray.train", "ray.data")}
    try:
        config = built(
            evaluation_interval=1, evaluation_duration="auto", evaluation_parallel_to_training=True,
            evaluation_num_workers=1,
        )  # fmt: skip
        config.validate()
    finally:
        logging.getLogger("ray.rllib").removeHandler(handler)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
    shown = handler.stream.getvalue()
    assert shown.count("which is ignored") == 1
    assert "new API stack" not in shown


def in_yaml(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and in_yaml(part) for key, part in value.items())
    return value is None or isinstance(value, bool | int | float | str) or (isinstance(value, list) and bool(value))


@pytest.mark.parametrize("run", ["PPO", "DQN", "SAC", "APPO", "IMPALA", "BC", "MARWIL", "CQL", "DreamerV3"])
def test_every_algorithm_takes_its_own_defaults(run, tmp_path):
    options = option_defaults(find_algorithm(run, "here"))
    given = {key: value for key, value in options.items() if in_yaml(value) and key != "env"}
    assert len(given) > 200
    if run in ("BC", "MARWIL", "CQL"):
        del given["input_"]
        given |= {
            "input": str(tmp_path),
            "dataset_num_iters_per_learner": 2,
            "evaluation_interval": 1,
        }  # it asks for them
    env = "Pendulum-v1" if run in ("SAC", "CQL") else "CartPole-v1"
    built(run, env, **given)
