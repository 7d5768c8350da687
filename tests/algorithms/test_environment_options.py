"""What both algorithms make of an environment: its faults are known before the training, later ones are told."""

import numpy as np
import pytest

from rllib_scoreflow.algorithms.flow_bc import FlowBCConfig
from rllib_scoreflow.algorithms.scoreflow import ScoreFlowConfig
from rllib_scoreflow.errors import InputError, SimulatorError
from rllib_scoreflow.flow.config import SDEConfig, VelocityConfig, apply_variant
from rllib_scoreflow.policy import FlowPolicy, PolicyConfig, PolicyMetadata

ENDLESS, LATE, NARROW = (f"toy_reach:{name}Reach-v0" for name in ("Endless", "Late", "Narrow"))


@pytest.fixture
def policy_for(tmp_path):
    def save(env_id, **env_config):
        score, noise = apply_variant("flow")
        sde = SDEConfig(velocity=VelocityConfig(hidden_dim=16), score=score, noise=noise)
        four, two = np.full(4, 4.0, np.float32), np.ones(2, np.float32)
        policy = FlowPolicy(
            PolicyConfig(observation_dim=4, action_dim=2, sde=sde),
            observation_low=-four,
            observation_high=four,
            action_low=-two,
            action_high=two,
            metadata=PolicyMetadata(env_id=env_id, env_config=env_config),
        )
        return str(policy.save(tmp_path / "policy"))

    return save


def flow_bc(dataset, env_id, **options):
    return FlowBCConfig().environment(env_id).training(dataset=str(dataset), **options)


def test_no_time_limit_is_found_before_the_training_and_an_option_gives_one(reach_dataset, policy_for):
    with pytest.raises(InputError, match=r"no time limit.*max_episode_steps \(an option"):
        flow_bc(reach_dataset, ENDLESS).evaluation(evaluation_interval=1).validate()
    config = flow_bc(reach_dataset, ENDLESS, max_episode_steps=5, success="any").evaluation(evaluation_interval=1)
    config.validate()
    assert config.cloned_policy().metadata.env_config == {"max_episode_steps": 5, "success": "any"}
    # The pretrained policy's limit is that of the fine-tuning, unless the config says otherwise.
    tuned = ScoreFlowConfig().environment(ENDLESS).evaluation(evaluation_interval=1)
    tuned.training(pretrained_policy=policy_for(ENDLESS, max_episode_steps=5, success="any"))
    tuned.validate()
    assert tuned.env_config == {"max_episode_steps": 5, "success": "any"}
    tuned.training(max_episode_steps=7).validate()
    assert tuned.env_config == {"max_episode_steps": 7, "success": "any"}


def test_a_policy_and_a_dataset_outside_the_bounds_are_refused(reach_dataset, policy_for):
    with pytest.raises(InputError, match=r"has actions from -1 to 1 in dimension 0, outside the bounds -0.01 to 0.01"):
        ScoreFlowConfig().environment(NARROW).training(pretrained_policy=policy_for(None)).validate()
    with pytest.raises(InputError, match=r"outside the bounds -0.01 to 0.01"):
        flow_bc(reach_dataset, NARROW).validate()


@pytest.mark.parametrize(("fault", "words"), [("raises", "the point is lost in step 4"), ("shape", r"shape \(1,\)")])
def test_faults_of_the_first_steps_are_known_before_ray_starts(reach_dataset, policy_for, fault, words):
    env_config = {"fault": fault, "at": 3}
    for config in (flow_bc(reach_dataset, LATE), ScoreFlowConfig().environment(LATE)):
        config.environment(env_config=env_config)
        if isinstance(config, ScoreFlowConfig):
            config.training(pretrained_policy=policy_for(None))
        with pytest.raises(InputError, match=words):
            config.validate()


@pytest.mark.slow
@pytest.mark.parametrize("remote", [0, 1])
@pytest.mark.parametrize(("fault", "error"), [("raises", SimulatorError), ("shape", InputError)])
def test_later_faults_reach_the_user_from_every_process(policy_for, remote, fault, error):
    config = ScoreFlowConfig().environment(LATE, env_config={"fault": fault, "at": 110})
    config.env_runners(num_env_runners=remote, num_envs_per_env_runner=1, rollout_fragment_length=60)
    config.training(pretrained_policy=policy_for(None), num_epochs=1, num_torch_threads=1)
    algo = config.build_algo()
    try:
        with pytest.raises(error, match="LateReach"):
            algo.training_step()
        assert sum("this rollout of its EnvRunner is lost" in note for note in algo._notes) == 3 * (fault == "raises")
    finally:
        algo.stop()
