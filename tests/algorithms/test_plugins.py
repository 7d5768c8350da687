"""A user's own velocity field, process, objective, estimator, reader and environment, from outside the package."""

import h5py
import numpy as np
import pytest

from rllib_scoreflow.algorithms.flow_bc import FlowBCConfig
from rllib_scoreflow.algorithms.scoreflow import ScoreFlowConfig
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.policy import FlowPolicy

PLUGINS = ["outside_parts"]


@pytest.fixture
def table(reach_dataset, tmp_path):
    names = ("observations", "actions", "rewards", "timeouts")
    with h5py.File(reach_dataset) as file:
        columns = [np.asarray(file[name], np.float32).reshape(len(file["rewards"]), -1) for name in names]
    np.savetxt(tmp_path / "reach.transitions", np.hstack(columns), delimiter=",")
    return tmp_path / "reach.transitions"


@pytest.mark.parametrize("remote", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_parts_from_outside_train_like_the_packages_own(table, tmp_path, remote) -> None:
    cloning = (
        FlowBCConfig()
        .environment("OutsideReach-v0")
        .training(
            dataset=str(table),
            velocity={"type": "outside_convolution", "channels": 8},
            denoising_steps=4,
            plugins=PLUGINS,
        )
        .learners(num_learners=remote)
    )
    algo = cloning.build_algo()
    losses = [algo.train()["train_loss"] for _ in range(2)]
    algo.save_checkpoint(str(tmp_path / "clone"))
    algo.stop()
    assert losses[1] < losses[0]
    clone = FlowPolicy.load(tmp_path / "clone" / "policy")
    assert clone.config.sde.velocity.channels == 8

    tuning = (
        ScoreFlowConfig()
        .environment("OutsideReach-v0")
        .training(
            pretrained_policy=str(tmp_path / "clone"),
            process={"type": "outside_push", "sigma": 0.15},
            objective="outside_penalty",
            advantages="outside_returns_to_go",
            lr=1e-3,
            lr_warmup_iterations=0,
            plugins=PLUGINS,
        )
        .env_runners(num_env_runners=remote, num_envs_per_env_runner=4, rollout_fragment_length=10)
        .learners(num_learners=remote)
    )
    algo = tuning.build_algo()
    results = [algo.train() for _ in range(2)]
    algo.flow_policy().save(tmp_path / "tuned")
    algo.stop()
    assert all(result["ratio_mean"] == pytest.approx(1.0, abs=0.2) for result in results)
    # The process's own network is trained; options, diagnostics and metrics of all parts are known.
    declared = tuning.reported_results()
    for name in ("lr/push", "grad_norm/push", "moved/push", "push_size", "penalty", "sigma_mean"):
        assert results[1][name] > 0.0, name
        assert declared.has(name), name
    assert not declared.has("alpha/step_0")
    assert results[1]["lr/push"] == results[1]["lr/velocity"]
    assert results[1]["sigma_max"] == pytest.approx(0.15)
    tuned = FlowPolicy.load(tmp_path / "tuned")
    assert (tuned.metadata.variant, tuned.config.sde.process.sigma) == ("outside_push", 0.15)
    weights = [policy.sde.velocity.layers[0].weight.detach().numpy() for policy in (clone, tuned)]
    assert not np.array_equal(*weights)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"plugins": ["no_such_module_anywhere"]}, "no_such_module_anywhere.*cannot be imported"),
        ({"advantages": "gea"}, "advantages.*did you mean 'gae'"),
        ({"plugins": PLUGINS, "objective": "outside_penatly"}, "objective.*did you mean 'outside_penalty'"),
        ({"process": {"type": "gausian"}}, "process.type.*did you mean 'gaussian'"),
        ({"plugins": PLUGINS, "process": {"type": "outside_push", "sigm": 1.0}}, "did you mean 'process.sigma'"),
        ({"plugins": PLUGINS, "process": {"type": "outside_push"}, "noise": {"sigma_max": 1.0}}, "noise.*no effect"),
    ],
)
def test_an_unknown_part_is_refused_with_its_nearest_name(policy_folder, options, message) -> None:
    config = ScoreFlowConfig().environment("Pendulum-v1").training(pretrained_policy=str(policy_folder), **options)
    with pytest.raises(InputError, match=message):
        config.validate()


def test_an_unknown_field_is_refused_and_names_the_known_ones(reach_dataset) -> None:
    config = FlowBCConfig().training(dataset=str(reach_dataset), velocity={"type": "transformer"})
    with pytest.raises(InputError, match=r"velocity\.type.*transformer.*mlp"):
        config.validate()
