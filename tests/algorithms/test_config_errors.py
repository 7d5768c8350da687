"""Bad options, policies and datasets: one clear sentence, before any training."""

import json

import pytest

from rllib_scoreflow.algorithms.flow_bc import FlowBCConfig
from rllib_scoreflow.algorithms.scoreflow import ScoreFlowConfig
from rllib_scoreflow.errors import InputError


def scoreflow_config(policy_folder, env: str = "Pendulum-v1", **options) -> ScoreFlowConfig:
    return ScoreFlowConfig().environment(env).training(pretrained_policy=str(policy_folder), **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gamma": "0.99"}, ("gamma", "'0.99'", "number")),
        ({"num_epochs": 0}, ("num_epochs", "0", "greater than or equal to 1")),
        ({"num_epochs": 2.5}, ("num_epochs", "2.5", "integer")),
        ({"variant": "scorflow"}, ("variant", "'scorflow'", "'scoreflow'")),
        ({"score": {"strenght": "mlp"}}, ("score.strenght", "did you mean 'score.strength'")),
        ({"score": {"strength": "cubic"}}, ("score.strength", "'cubic'", "'linear'")),
        ({"noise": {"sigma_min": 0.3, "sigma_max": 0.2}}, ("noise", "sigma_min", "0.3")),
        ({"chain": {"denoising_steps": 0}}, ("chain.denoising_steps", "0")),
        ({"chain": {"start": "zer"}}, ("chain.start", "'zer'", "'zero'")),
        ({"chain": {"start": "learned"}}, ("chain.start", "has no learned start", "--search-start")),
        ({"score": {"value": 3}}, ("alpha(0)", "raise scale, as in value: 1.5, scale: 2")),
        ({"score": {"form": "contraction"}}, ("needs value",)),
        (
            {"score": {"form": "contraction", "value": 0.5}, "chain": {"denoising_steps": 1}},
            ("'contraction'", "one step", "no effect"),
        ),
        ({"variant": "reinflow", "noise": {"kind": "coupled"}}, ("'reinflow'", "needs a drift")),
        ({"variant": "flow_sde", "score": {"strength": "mlp"}}, ("'flow_sde'", "a drift of its own")),
        ({"variant": "cps", "chain": {"denoising_steps": 1}}, ("'cps'", "no noise at the last step")),
        ({"variant": "cps", "chain": {"random_steps": "last"}}, ("'cps'", "no noise at the last step")),
        ({"variant": "cps", "noise": {"noise_level": 1.5}}, ("noise_level (1.5)", "at most 1")),
        ({"variant": "dppo", "chain": {"denoising_steps": 4}}, ("tuned_steps (10)", "denoising_steps (4)")),
        ({"variant": "scoreflow", "noise": {"eta": 0.5}}, ("eta belongs to kind ddim", "'learn'")),
        ({"variant": "ddim", "frozen_velocity": True}, ("frozen_velocity", "nothing to train", "'ddim'")),
        ({"objective": "fop"}, ("objective", "'fop'", "'fpo'")),
        ({"objective": "fpo"}, ("velocity alone", "'alpha'", "variant: flow")),
        ({"objective": "fpo", "variant": "flow", "fpo": {"pair": 2}}, ("fpo.pair", "fpo.pairs")),
        ({"objective": "fpo", "variant": "flow", "entropy_coeff": 0.1}, ("entropy_coeff", "no effect", "'fpo'")),
        ({"objective": "fpo", "variant": "flow", "chain": {"logp_clamp": None}}, ("chain.logp_clamp", "no effect")),
        ({"objective": "fpo", "variant": "flow", "chain": {"start": "zero"}}, ("chain.start", "nothing to compare")),
        ({"objective": "fpo", "variant": "flow", "frozen_velocity": True}, ("frozen_velocity", "nothing to train")),
        ({"fpo": {"pairs": 2}}, ("'fpo'", "no effect", "'chain'")),
        ({"variant": "flow"}, ("no noise", "nothing to optimise", "'fpo'")),
        ({"advantages": "group"}, ("group_size", "num_envs_per_env_runner (40)")),
        ({"advantages": "group", "group_size": 3}, ("num_envs_per_env_runner", "multiple", "group_size")),
        ({"advantages": "group", "group_size": 1}, ("group_size", "greater than or equal to 2")),
        ({"advantages": "group", "group_size": 4, "vf_loss_coeff": 0.1}, ("vf_loss_coeff", "no effect", "no critic")),
        ({"group_size": 4}, ("group_size", "no effect", "gae")),
        ({"reward_scaling": False, "reward_clip": 5.0}, ("reward_clip", "reward_scaling")),
        ({"reward_clip": 0.0}, ("reward_clip", "greater than 0")),
        ({"frozen_velocity": 1}, ("frozen_velocity", "1", "boolean")),
        ({"grad_clip": -1.0}, ("grad_clip", "-1.0")),
    ],
)
def test_a_bad_option_of_scoreflow_is_named(policy_folder, options, words) -> None:
    with pytest.raises(InputError) as error:
        scoreflow_config(policy_folder, **options).validate()
    message = str(error.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_a_policy_for_other_dimensions_is_refused(policy_folder) -> None:
    with pytest.raises(InputError, match=r"has 3 observation and 1 action dimensions.*11 and 3"):
        scoreflow_config(policy_folder, env="Hopper-v4").validate()


def test_a_missing_policy_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="run FlowBC first"):
        scoreflow_config(tmp_path / "nothing").validate()
    with pytest.raises(InputError, match="needs the option 'pretrained_policy'"):
        ScoreFlowConfig().environment("Pendulum-v1").validate()


def test_a_tampered_policy_is_refused(policy_folder, tmp_path) -> None:
    copy = tmp_path / "policy"
    copy.mkdir()
    for file in policy_folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    description = json.loads((copy / "policy.json").read_text())
    description["weights_sha256"] = "0" * 64
    (copy / "policy.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match="sha256 differs"):
        scoreflow_config(copy).validate()


@pytest.mark.parametrize("env", ["Hoper-v4", "hopper-medum-v2"])
def test_an_unknown_environment_is_refused(policy_folder, env: str) -> None:
    with pytest.raises(InputError, match=r"(?i)hopper"):
        scoreflow_config(policy_folder, env=env).validate()


def test_a_variant_without_noise_at_the_last_step_needs_more_than_the_one_of_a_mean_flow(policy_folders) -> None:
    env_id, folder = policy_folders["meanflow", "state"]
    config = ScoreFlowConfig().environment(env_id).training(pretrained_policy=str(folder), variant="cps")
    with pytest.raises(InputError, match=r"'cps' has no noise at the last step; draw at earlier ones"):
        config.validate()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dataset": "hopper-medum-v2"}, ("hopper-medum-v2", "hopper-medium-v2")),
        ({"dataset": "/nowhere/data.hdf5"}, ("/nowhere/data.hdf5",)),
        ({"lr": "1e-3"}, ("lr", "'1e-3'", "number")),
        ({"velocity": {"hidden": 64}}, ("velocity.hidden", "velocity.hidden_dim")),
        ({"velocity": {"kind": "meanflw"}}, ("velocity.kind", "'meanflw'", "did you mean 'meanflow'")),
        ({"velocity": {"kind": "meanflow"}, "consistency_fraction": 0.0}, ("consistency_fraction", "kind: flow")),
        ({"act_steps": 8}, ("act_steps", "8", "horizon")),
        ({"chain": {"start": "learned"}}, ("chain.start", "new clone has no learned start")),
        ({"chain": {"denoising_steps": 8}}, ("chain.denoising_steps", "set the option 'denoising_steps' itself")),
        ({"chain": {"logp_clamp": None}}, ("chain.logp_clamp", "where the clone is fine-tuned")),
        ({"chain": {"strat": "zero"}}, ("chain.strat", "chain.start")),
    ],
)
def test_a_bad_option_of_flow_bc_is_named(options, words) -> None:
    config = FlowBCConfig().environment("Hopper-v4").training(**({"dataset": "hopper-small"} | options))
    with pytest.raises(InputError) as error:
        config.validate()
    message = str(error.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_a_dataset_for_another_environment_is_refused() -> None:
    config = FlowBCConfig().environment("Walker2d-v4").training(dataset="hopper-small")
    with pytest.raises(InputError, match=r"hopper-small.*17"):
        config.validate()


def test_evaluation_needs_an_environment() -> None:
    config = FlowBCConfig().training(dataset="hopper-small").evaluation(evaluation_interval=1)
    with pytest.raises(InputError, match="set 'env'"):
        config.validate()


def test_a_config_that_was_refused_can_be_mended(reach_dataset) -> None:
    config = FlowBCConfig().environment("Pendulum-v1").training(dataset=str(reach_dataset))
    with pytest.raises(InputError, match="Pendulum-v1"):
        config.validate()
    config.environment("toy_reach:ToyReach-v0").validate()
