"""Behaviour cloning through RLlib's Algorithm: learning, averaging, exporting, streaming."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rllib_scoreflow.algorithms.flow_bc import FlowBCConfig
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.evaluation import evaluate_policy
from rllib_scoreflow.files.manifest import MANIFEST, find_damage
from rllib_scoreflow.flow.config import apply_chain, apply_variant
from rllib_scoreflow.policy import FlowPolicy


def small_config(dataset, **options) -> FlowBCConfig:
    fixed = {"ema_warmup_steps": 5, "num_torch_threads": 1, "velocity": {"hidden_dim": 32}, "denoising_steps": 4}
    options = {"train_batch_size_per_learner": 64, "validation_fraction": 0.1, "ema_decay": 0.9} | fixed | options
    return (
        FlowBCConfig().environment("toy_reach:ToyReach-v0").training(dataset=str(dataset), **options).debugging(seed=3)
    )


def trained(config: FlowBCConfig, iterations: int = 1):
    algo = config.build_algo()
    try:
        results = [algo.train() for _ in range(iterations)]
        return algo.flow_policy(), results
    finally:
        algo.stop()


def test_the_loss_falls_and_the_policy_resembles_the_demonstrations(reach_dataset) -> None:
    policy, results = trained(small_config(reach_dataset), iterations=25)
    assert results[-1]["train_loss"] < 0.85 * results[0]["train_loss"]
    assert results[-1]["validation_loss"] < 0.85 * results[0]["validation_loss"]
    assert results[-1]["samples_per_second"] > 0
    rng = np.random.default_rng(0)
    observation = rng.uniform(-1.0, 1.0, (500, 4)).astype(np.float32)
    first = policy.act(observation, generator=torch.Generator().manual_seed(0)).reshape(500, -1, 2)[:, 0]
    towards = observation[:, 2:] - observation[:, :2]
    correlation = np.corrcoef(first.ravel(), towards.ravel())[0, 1]
    assert correlation > 0.4
    assert 0.15 < np.std(first - 0.4 * towards) < 0.5  # the demonstrations' own noise of 0.3 is cloned too


def test_a_predictor_of_the_noise_resembles_the_demonstrations_too(reach_dataset) -> None:
    """DDPM's path: drawn as a plain flow (DDIM) and as DPPO's chain begins, with noise at every step."""
    velocity = {"hidden_dim": 32, "kind": "epsilon"}
    policy, results = trained(small_config(reach_dataset, velocity=velocity, denoising_steps=10), iterations=25)
    assert results[-1]["validation_loss"] < 0.85 * results[0]["validation_loss"]
    noise, chain = apply_variant("dppo", None, {"sigma_min": 0.01})[1], apply_chain("dppo", {"tuned_steps": 20})
    ancestral = policy.with_dynamics(policy.config.sde.score, noise, chain, "dppo")
    rng = np.random.default_rng(0)
    observation = rng.uniform(-1.0, 1.0, (500, 4)).astype(np.float32)
    towards = observation[:, 2:] - observation[:, :2]
    for one, explore in ((policy, False), (ancestral, True)):
        chunk = one.act(observation, explore=explore, generator=torch.Generator().manual_seed(0))
        first = chunk.reshape(500, -1, 2)[:, 0]
        assert np.corrcoef(first.ravel(), towards.ravel())[0, 1] > 0.4
        assert 0.15 < np.std(first - 0.4 * towards) < 0.5


def test_the_exported_weights_are_the_average(reach_dataset) -> None:
    algo = small_config(reach_dataset, ema_decay=0.99, ema_warmup_steps=0).build_algo()
    try:
        algo.train()
        averaged = algo.flow_policy().state_dict()
        present = algo.learner_group.foreach_learner(lambda learner: learner.rl_module.policy.state_dict())
        present = next(iter(present)).get()
        moved = [n for n in averaged if n.startswith("sde.velocity") and not torch.equal(averaged[n], present[n])]
        assert len(moved) > 4
    finally:
        algo.stop()


def test_one_epoch_sees_every_training_chunk_once(reach_dataset) -> None:
    algo = small_config(reach_dataset).build_algo()
    try:
        data = algo.offline_data
        first, again, second = data.epoch_starts(0), data.epoch_starts(0), data.epoch_starts(1)
        assert len(set(first)) == len(first) == len(data.training)
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, second)
        assert not set(first) & set(data.validation)
    finally:
        algo.stop()


def test_streaming_through_ray_data_trains_on_the_same_chunks(reach_dataset) -> None:
    _, memory = trained(small_config(reach_dataset))
    _, stream = trained(small_config(reach_dataset, streaming=True))
    assert stream[0]["train_loss"] == pytest.approx(memory[0]["train_loss"], rel=0.15)


@pytest.mark.slow
def test_two_learners_share_an_epoch(reach_dataset) -> None:
    config = small_config(reach_dataset).learners(num_learners=2)
    policy, results = trained(config, iterations=2)
    assert np.isfinite(results[-1]["train_loss"])
    assert results[-1]["validation_loss"] < 1.2
    assert all(torch.isfinite(value).all() for value in policy.state_dict().values())


def test_a_checkpoint_holds_the_policy_and_resumes_exactly(reach_dataset, tmp_path) -> None:
    algo = small_config(reach_dataset).build_algo()
    algo.train()
    algo.save_checkpoint(str(tmp_path / "checkpoint"))
    saved = FlowPolicy.load(tmp_path / "checkpoint" / "policy")
    assert saved.metadata.dataset_sha256
    assert saved.metadata.versions["ray"]
    algo.train()
    unbroken = algo.flow_policy().state_dict()
    algo.stop()
    resumed = small_config(reach_dataset).build_algo()
    resumed.restore_from_path(str(tmp_path / "checkpoint"))
    for name, value in resumed.flow_policy().state_dict().items():
        assert torch.equal(value, saved.state_dict()[name])
    resumed.train()
    after = resumed.flow_policy().state_dict()
    resumed.stop()
    assert all(torch.equal(value, after[name]) for name, value in unbroken.items())


def test_a_checkpoint_of_save_to_path_restores_evaluates_and_is_known_to_be_whole(
    reach_dataset, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    algo = small_config(reach_dataset).build_algo()
    algo.train()
    written = Path(algo.save_to_path("mine"))
    weights = algo.flow_policy().state_dict()
    assert written == tmp_path / "mine"
    assert find_damage(written) is None
    algo.train()
    algo.restore(str(written))
    assert algo.iteration == 1
    restored = algo.flow_policy().state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in restored.items())
    exported = FlowPolicy.load(written / "policy").state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in exported.items())

    # What RLlib's own save_to_path() writes, as earlier versions of this package did.
    (written / MANIFEST).unlink()
    algo.train()
    algo.restore(str(written))
    assert algo.iteration == 1
    assert all(torch.equal(value, weights[name]) for name, value in algo.flow_policy().state_dict().items())
    # Of Tune's checkpoints a missing list says that they were cut off.
    cut = written.rename(tmp_path / "checkpoint_000000")
    with pytest.raises(InputError, match="there is no whole one before it"):
        algo.restore(str(cut))
    algo.stop()


def test_early_stopping_marks_the_result_as_done(reach_dataset) -> None:
    config = small_config(reach_dataset, early_stopping_patience=2, lr=0.0, lr_min=0.0)
    _, results = trained(config, iterations=4)
    assert [bool(r.get("done")) for r in results] == [False, False, True, True]


def test_a_clone_that_starts_at_zero_is_evaluated_and_exported_so(reach_dataset, tmp_path) -> None:
    algo = small_config(reach_dataset, chain={"start": "zero"}).evaluation(evaluation_duration=3).build_algo()
    try:
        algo.train()
        returns = algo.evaluate()["returns"]
        algo.flow_policy().save(tmp_path / "policy")
    finally:
        algo.stop()
    policy = FlowPolicy.load(tmp_path / "policy")
    assert policy.config.sde.chain.start == "zero"
    seen = np.zeros((4, 4), np.float32)
    np.testing.assert_array_equal(policy.act(seen), policy.act(seen, initial=np.zeros((4, 8), np.float32)))
    # Nothing is drawn, so that only the policy and the initial states decide.
    found = evaluate_policy(policy.act, "toy_reach:ToyReach-v0", episodes=3, seed=10_003, act_steps=4, horizon=4)
    assert list(found.returns) == returns
