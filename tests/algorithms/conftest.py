"""A tiny environment, a policy for it and one Ray instance for the tests of the algorithms."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import ray
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.training_data import TrainingData

from rllib_scoreflow.algorithms.flow_bc import FlowBCConfig
from rllib_scoreflow.algorithms.scoreflow import ScoreFlowConfig
from rllib_scoreflow.algorithms.scoreflow.env_runner import ChunkEnvRunner
from rllib_scoreflow.flow.config import SDEConfig, VelocityConfig, VisionConfig, apply_variant
from rllib_scoreflow.policy import FlowPolicy, PolicyConfig, PolicyMetadata

ENV_ID = "Pendulum-v1"


@pytest.fixture(scope="session", autouse=True)
def toy_reach_importable():
    """Lets "toy_reach:ToyReach-v0" be imported, as a user's module beside his YAML file is."""
    folder = str(Path(__file__).parent)
    sys.path.insert(0, folder)
    yield
    sys.path.remove(folder)


@pytest.fixture(scope="session")
def reach_dataset(tmp_path_factory, toy_reach_importable) -> Path:
    from toy_reach import demonstrations

    path = tmp_path_factory.mktemp("data") / "reach.hdf5"
    with h5py.File(path, "w") as file:
        for name, values in demonstrations().items():
            file[name] = values
    return path


@pytest.fixture(scope="session")
def clone_reach(reach_dataset) -> Callable[..., Path]:
    """Clones the toy task's demonstrations into a checkpoint in a new folder."""

    def clone(folder: Path, velocity: dict, **options) -> Path:
        settings = {"train_batch_size_per_learner": 64, "num_torch_threads": 1, **options}
        algo = (
            FlowBCConfig()
            .environment("toy_reach:ToyReach-v0")
            .training(dataset=str(reach_dataset), velocity={"hidden_dim": 64, **velocity}, **settings)
            .debugging(seed=0)
            .build_algo()
        )
        for _ in range(25):
            algo.train()
        algo.save_checkpoint(str(folder))
        algo.stop()
        return folder

    return clone


@pytest.fixture(scope="session", autouse=True)
def ray_instance():
    torch.set_num_threads(1)
    # What Ray starts inherits it: EnvRunners of other processes import "toy_reach", too.
    folders = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(folders))
        ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
    yield
    ray.shutdown()


class Loop:
    """One EnvRunner and one Learner, as the Algorithm lets them work, in this process."""

    def __init__(self, config: ScoreFlowConfig) -> None:
        config.validate()
        self.runner = ChunkEnvRunner(config=config, worker_index=0)
        self.learner = config.build_learner(spaces=self.runner.get_spaces())
        weights = config.initial_policy().state_dict()
        self.learner.load_policy_state({name: value.numpy() for name, value in weights.items()})

    def update(self, episodes):
        return self.learner.update(training_data=TrainingData(episodes=episodes))[DEFAULT_MODULE_ID]

    def iterate(self) -> float:
        """One iteration; how far the ratios of the first minibatch are from 1."""
        weights = self.learner.module.get_state(inference_only=True)
        self.runner.set_state({"rl_module": weights, "weights_seq_no": self.learner._weights_seq_no})
        return float(self.update(self.runner.sample())["ratio_error_first"].peek())

    @property
    def bound(self) -> float:
        return float(self.runner.module.policy.sde.noise.sigma_max)


@pytest.fixture(scope="session")
def make_loop() -> type[Loop]:
    """From a config, validated here, to a loop of its own."""
    return Loop


def pendulum_policy(hidden_dim: int = 32, act_steps: int = 2, kind: str = "flow") -> FlowPolicy:
    torch.manual_seed(0)
    score, noise = apply_variant("flow")
    config = PolicyConfig(
        observation_dim=3,
        action_dim=1,
        horizon=4,
        act_steps=act_steps,
        sde=SDEConfig(velocity=VelocityConfig(kind=kind, hidden_dim=hidden_dim), score=score, noise=noise),
    )
    bound = np.array([1.0, 1.0, 8.0], np.float32)
    return FlowPolicy(
        config,
        observation_low=-bound,
        observation_high=bound,
        action_low=np.array([-2.0], np.float32),
        action_high=np.array([2.0], np.float32),
        metadata=PolicyMetadata(env_id=ENV_ID, dataset="toy", dataset_sha256="00"),
    )


def pixel_policy(kind: str = "flow") -> FlowPolicy:
    """For `toy_reach:PixelReach-v0`."""
    torch.manual_seed(0)
    score, noise = apply_variant("flow")
    config = PolicyConfig(
        observation_dim=2,
        action_dim=2,
        act_steps=2,
        cameras=("left", "right"),
        image_size=(24, 24),
        vision=VisionConfig(embed_dim=8, num_heads=2, feature_dim=8),
        sde=SDEConfig(velocity=VelocityConfig(kind=kind, hidden_dim=16), score=score, noise=noise),
    )
    bound = np.ones(2, np.float32)
    return FlowPolicy(config, observation_low=-bound, observation_high=bound, action_low=-bound, action_high=bound)


@pytest.fixture(scope="session")
def policy_folders(tmp_path_factory) -> dict[tuple[str, str], tuple[str, Path]]:
    """Environment and policy folder by kind of policy and of observation."""
    root = tmp_path_factory.mktemp("kinds")
    found = {}
    for kind in ("flow", "shortcut", "meanflow"):
        found[kind, "state"] = (ENV_ID, pendulum_policy(kind=kind).save(root / f"{kind}-state"))
        found[kind, "pixels"] = ("toy_reach:PixelReach-v0", pixel_policy(kind).save(root / f"{kind}-pixels"))
    found["epsilon", "state"] = (ENV_ID, pendulum_policy(kind="epsilon").save(root / "epsilon-state"))
    return found


@pytest.fixture(scope="session")
def policy_folder(tmp_path_factory) -> Path:
    return pendulum_policy().save(tmp_path_factory.mktemp("pretrained") / "policy")
