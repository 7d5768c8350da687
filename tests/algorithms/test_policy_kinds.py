"""Shortcut models, MeanFlows and pixel policies from their dataset to fine-tuning, on toy tasks."""

import json

import h5py
import numpy as np
import pytest
import torch

from rllib_scoreflow.algorithms.flow_bc import FlowBCConfig
from rllib_scoreflow.algorithms.scoreflow import ScoreFlowConfig
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.observations import IMAGES, STATE
from rllib_scoreflow.policy import FlowPolicy
from rllib_scoreflow.policy.onnx_export import export_onnx

PIXELS = "toy_reach:PixelReach-v0"


@pytest.fixture(scope="module")
def pixel_dataset(tmp_path_factory, toy_reach_importable):
    """Demonstrations in Robomimic's layout."""
    from toy_reach import PixelReach

    path = tmp_path_factory.mktemp("pixels") / "reach.hdf5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "PixelReach", "type": 1, "env_kwargs": {}})
        env = PixelReach()
        for episode in range(40):
            seen, actions = [env.reset(seed=episode)[0]], []
            for _ in range(20):
                actions.append(np.clip(2.0 * (env._goal - env._point) + 0.1 * rng.standard_normal(2), -1, 1))
                seen.append(env.step(actions[-1])[0])
            demo = data.create_group(f"demo_{episode}")
            demo.attrs["num_samples"] = 20
            demo["actions"], demo["rewards"] = np.array(actions), np.zeros(20)
            demo["dones"] = np.arange(20) == 19
            demo["obs/point"] = np.array([o[STATE] for o in seen[:-1]])
            demo["next_obs/point"] = np.array([o[STATE] for o in seen[1:]])
            for v, camera in enumerate(("left", "right")):
                demo[f"obs/{camera}_image"] = np.array([o[IMAGES][v] for o in seen[:-1]])
    return path


def cloning_config(dataset, env, **options) -> FlowBCConfig:
    settings = {
        "dataset": str(dataset),
        "velocity": {"hidden_dim": 64},
        "denoising_steps": 4,
        "train_batch_size_per_learner": 64,
        "num_torch_threads": 1,
        "act_steps": 2,
    }
    return FlowBCConfig().environment(env).training(**(settings | options)).debugging(seed=0)


def pixel_config(dataset, **options) -> FlowBCConfig:
    vision = {"embed_dim": 16, "num_heads": 2, "feature_dim": 16, "augment_pad": 1}
    settings = {"cameras": ["left", "right"], "observation_keys": ["point"], "vision": vision}
    return cloning_config(dataset, PIXELS, **(settings | options))


def clone(config: FlowBCConfig, folder, epochs: int):
    algo = config.build_algo()
    try:
        results = [algo.train() for _ in range(epochs)]
        algo.save_checkpoint(str(folder))
        return results, algo.evaluate()
    finally:
        algo.stop()


@pytest.fixture(scope="module")
def cloned_pixels(pixel_dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cloned") / "pixels"
    results, evaluation = clone(pixel_config(pixel_dataset), folder, 30)
    return folder, results, evaluation


def test_a_pixel_policy_finds_the_goal_that_only_the_images_show(cloned_pixels) -> None:
    folder, results, evaluation = cloned_pixels
    assert results[-1]["validation_loss"] < 0.8 * results[0]["validation_loss"]
    # Not knowing the goal, staying in the middle is best: about -0.76 a step over 20 steps.
    assert evaluation["return_mean"] > -10.0
    policy = FlowPolicy.load(folder / "policy")
    assert policy.config.cameras == ("left", "right")
    assert policy.config.image_size == (24, 24)


def test_a_pixel_policy_is_fine_tuned(cloned_pixels) -> None:
    folder, _, _ = cloned_pixels
    algo = (
        ScoreFlowConfig()
        .environment(PIXELS)
        .training(pretrained_policy=str(folder), num_epochs=2, microbatch_size=24, behavior_coeff=0.1)
        .env_runners(num_envs_per_env_runner=5, rollout_fragment_length=12)
        .debugging(seed=0)
        .build_algo()
    )
    try:
        first, second = algo.train(), algo.train()
    finally:
        algo.stop()
    assert 0.0 < first["behavior_distance"] < second["behavior_distance"]
    assert second["env_steps"] == 2 * 5 * 12 * 2


def test_streamed_images_train_as_those_in_memory(pixel_dataset, tmp_path) -> None:
    results, _ = clone(pixel_config(pixel_dataset, streaming=True), tmp_path / "streamed", 2)
    assert results[1]["train_loss"] < results[0]["train_loss"]


def test_a_pixel_policy_needs_an_environment_with_its_cameras(pixel_dataset) -> None:
    with pytest.raises(InputError, match=r"images of shape \(1, 24, 24, 3\)"):
        pixel_config(pixel_dataset, cameras=["left"]).validate()


def test_shortcut_models_and_mean_flows_clone_as_well_as_a_flow_and_in_fewer_steps(reach_dataset, tmp_path) -> None:
    returns = {}
    for kind in ("flow", "shortcut", "meanflow"):
        config = cloning_config(reach_dataset, "toy_reach:ToyReach-v0", velocity={"hidden_dim": 64, "kind": kind})
        clone(config, tmp_path / kind, 20)
        policy = FlowPolicy.load(tmp_path / kind / "policy")
        algo = config.copy(copy_frozen=False).build_algo()
        for steps in (1, 4):
            chain = policy.config.sde.chain.model_copy(update={"denoising_steps": steps})
            sde = policy.config.sde
            other = policy.with_dynamics(sde.score, sde.noise, chain, "flow")
            returns[kind, steps] = algo.evaluate_flow_policy(other).return_mean
        algo.stop()
    assert returns["shortcut", 4] > returns["flow", 4] - 1.0
    assert returns["shortcut", 1] > returns["flow", 4] - 1.5
    assert returns["meanflow", 1] > returns["flow", 4] - 1.5


def test_self_consistency_takes_its_share_of_the_batch(reach_dataset) -> None:
    config = cloning_config(
        reach_dataset,
        "toy_reach:ToyReach-v0",
        velocity={"hidden_dim": 16, "kind": "shortcut"},
        consistency_fraction=0.5,
    )
    algo = config.build_algo()
    try:
        counts = algo.learner_group.foreach_learner(_count_levels)
        assert next(result.get() for result in counts) == 32
    finally:
        algo.stop()


def _count_levels(learner) -> int:
    batch = learner._training_batch(torch.zeros(64, 4), torch.zeros(64, 8))
    return len(batch["flow_step"])


def test_a_mean_flow_is_cloned_fine_tuned_and_exported_for_one_step(reach_dataset, tmp_path) -> None:
    """Nobody says how many steps: the kind does, in both trainings and in the file."""
    velocity = {"hidden_dim": 64, "kind": "meanflow"}
    config = cloning_config(reach_dataset, "toy_reach:ToyReach-v0", velocity=velocity, denoising_steps=None)
    results, _ = clone(config, tmp_path / "clone", 3)
    assert results[-1]["validation_loss"] < results[0]["validation_loss"]
    assert FlowPolicy.load(tmp_path / "clone" / "policy").config.sde.chain.denoising_steps == 1
    algo = (
        ScoreFlowConfig()
        .environment("toy_reach:ToyReach-v0")
        .training(pretrained_policy=str(tmp_path / "clone"), num_epochs=2)
        .env_runners(num_envs_per_env_runner=5, rollout_fragment_length=12)
        .debugging(seed=0)
        .build_algo()
    )
    try:
        result = [algo.train() for _ in range(2)][-1]
        tuned = algo.flow_policy().eval()
    finally:
        algo.stop()
    assert tuned.config.sde.chain.denoising_steps == 1
    assert {name for name in result if name.startswith("alpha/")} == {"alpha/step_0"}
    assert export_onnx(tuned, tmp_path / "policy.onnx")["denoising_steps"] == "1"
