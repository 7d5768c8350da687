"""Fine-tuning of a clone that predicts the noise: its first step stays as cloned where nobody says otherwise."""

import numpy as np
import pytest

from rllib_scoreflow.algorithms.scoreflow import ScoreFlowConfig
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.policy import FlowPolicy


@pytest.mark.parametrize(
    ("kind", "options", "tuned", "steps"),
    [
        ("epsilon", {"variant": "reinflow"}, 3, 4),
        ("epsilon", {"variant": "scoreflow", "chain": {"denoising_steps": 6}}, 5, 6),
        ("epsilon", {"variant": "ddim"}, 4, 5),
        ("epsilon", {"variant": "dppo"}, 10, 20),
        ("epsilon", {"variant": "reinflow", "chain": {"tuned_steps": None}}, None, 4),
        ("epsilon", {"variant": "reinflow", "chain": {"tuned_steps": 4}}, 4, 4),
        ("epsilon", {"variant": "flow", "objective": "fpo"}, None, 4),
        ("flow", {"variant": "reinflow"}, None, 4),
        ("meanflow", {"variant": "reinflow"}, None, 1),
    ],
)
def test_how_many_steps_are_trained(policy_folders, kind, options, tuned, steps) -> None:
    _, folder = policy_folders[kind, "state"]
    chain = ScoreFlowConfig().training(pretrained_policy=str(folder), **options).initial_policy().config.sde.chain
    assert (chain.tuned_steps, chain.denoising_steps) == (tuned, steps)


def test_one_step_is_refused(policy_folders) -> None:
    _, folder = policy_folders["epsilon", "state"]
    config = ScoreFlowConfig().training(pretrained_policy=str(folder), variant="reinflow", chain={"denoising_steps": 1})
    with pytest.raises(InputError, match=r"^Option 'chain.denoising_steps' is 1, .*'epsilon'.* take 2 steps or more"):
        config.initial_policy()
    fpo = {"variant": "flow", "objective": "fpo", "chain": {"denoising_steps": 1}}
    chain = ScoreFlowConfig().training(pretrained_policy=str(folder), **fpo).initial_policy().config.sde.chain
    assert chain.denoising_steps == 1


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["reinflow", "scoreflow", "ddim"])
def test_a_noise_predictor_is_fine_tuned_by_every_kind_of_noise(clone_reach, tmp_path, variant: str) -> None:
    clone_reach(tmp_path, {"kind": "epsilon"})
    fixed = {"lr": 1e-3, "lr_cycle_iterations": 0, "lr_warmup_iterations": 0, "num_epochs": 5, "minibatch_size": 200}
    tuning = (
        ScoreFlowConfig()
        .environment("toy_reach:ToyReach-v0")
        .training(pretrained_policy=str(tmp_path), variant=variant, num_torch_threads=1, **fixed)
        .env_runners(num_envs_per_env_runner=20, rollout_fragment_length=50)
        .evaluation(evaluation_duration=60)
        .debugging(seed=0)
        .build_algo()
    )
    before = tuning.evaluate_flow_policy(FlowPolicy.load(tmp_path / "policy"))
    for _ in range(15):
        tuning.train()
    after = tuning.evaluate_flow_policy(tuning.flow_policy())
    tuning.stop()
    error = np.hypot(before.return_stderr, after.return_stderr)
    assert after.return_mean > before.return_mean + 5.0 * error
