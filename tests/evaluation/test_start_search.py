"""``rllib evaluate --start`` and ``--search-start``, on a policy that acts by its start alone."""

import json
import re
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib_scoreflow.envs import sub_env_seeds
from rllib_scoreflow.evaluation.attribution import attribution_rows
from rllib_scoreflow.flow.config import VARIANTS, ChainConfig, SDEConfig, VelocityConfig, apply_variant
from rllib_scoreflow.flow.variants import apply_chain
from rllib_scoreflow.policy import FlowPolicy, PolicyConfig

TOY = "toy_envs:ToyCountdown-v0"
NAMED = ("--env", TOY)


@pytest.fixture
def still(tmp_path, make_policy):
    """Its velocity is 0, so that its action is the start of the chain."""
    return make_policy(0.0, variant="flow", steps=2).save(tmp_path / "still")


def returns_of(seed: int, episodes: int, action: float) -> np.ndarray:
    """Every step is rewarded by its number plus the action, which is clipped to [-1, 1]."""
    limits = [int(gym.make(TOY).reset(seed=one)[0][1]) for one in sub_env_seeds(seed, episodes)]
    return np.array([n * (n + 1) / 2 + n * np.clip(action, -1, 1) for n in limits])


def evaluate(rllib, *words):
    answer = rllib("evaluate", *words, "--json")
    assert answer.status == 0, answer.err
    return json.loads(answer.out)


def test_the_best_of_the_candidates_is_stored_and_judged_on_other_episodes(rllib, still):
    found = evaluate(rllib, still, *NAMED, "--search-start", 6, "--output", "ticket", "--episodes", 9, "--seed", 4)
    candidates = torch.randn((6, 1), generator=torch.Generator().manual_seed(4)).numpy().ravel()
    # The larger the action the larger the return; several are clipped to the same one, and the first of them stays.
    best = candidates[np.argmax(np.clip(candidates, -1, 1))]
    assert best != candidates[0]
    search, other = returns_of(4, 9, best), returns_of(5, 9, best)
    assert found["search"]["returns"] == pytest.approx(search.tolist(), abs=1e-5)
    assert found["other_episodes"]["returns"] == pytest.approx(other.tolist(), abs=1e-5)
    assert found["other_episodes"]["return_stderr"] == pytest.approx(other.std(ddof=1) / 3, rel=1e-4)
    own = np.array(found["own_start_other_episodes"]["returns"])
    assert found["difference"]["return_mean"] == pytest.approx((other - own).mean(), abs=1e-5)
    stored = FlowPolicy.load("ticket")
    assert stored.config.sde.chain.start == "learned"
    np.testing.assert_array_equal(stored.act(np.zeros((3, 2), np.float32)), np.full((3, 1), np.clip(best, -1, 1)))
    # The policy itself is as it was, and the stored one acts by its start unless another one is asked for.
    assert FlowPolicy.load(still).config.sde.chain.start == "normal"
    again = evaluate(rllib, "ticket", *NAMED, "--episodes", 9, "--seed", 5)
    assert (again["start"], again["returns"]) == ("learned", found["other_episodes"]["returns"])
    zero = evaluate(rllib, "ticket", *NAMED, "--episodes", 9, "--seed", 5, "--start", "zero")
    assert (zero["start"], zero["returns"]) == ("zero", returns_of(5, 9, 0.0).tolist())
    drawn = evaluate(rllib, "ticket", *NAMED, "--episodes", 9, "--seed", 5, "--start", "normal")
    assert (drawn["start"], drawn["returns"]) == ("normal", found["own_start_other_episodes"]["returns"])


def test_a_sweep_and_people_are_told_the_start(rllib, still):
    lines = rllib("evaluate", still, *NAMED, "--episodes", 2, "--start", "zero").out.splitlines()
    assert lines[0].endswith("(variant flow, denoising steps 2, start zero)")
    found = evaluate(rllib, still, *NAMED, "--episodes", 2, "--start", "zero", "--sweep")
    assert {one["start"] for one in found["results"]} == {"zero"}
    assert len({tuple(one["returns"]) for one in found["results"]}) == 1
    answer = rllib("evaluate", still, *NAMED, "--episodes", 2, "--search-start", 2, "--output", "ticket")
    assert answer.status == 0, answer.err
    begins = ("start 1 of 2: return ", "start 2 of 2: return ", "best start, on the episodes of the search (seed 0): ")
    begins += ("best start, on other episodes (seed 1): return ", "normal start, on those other", "policy: ticket")
    lines = answer.out.splitlines()
    assert [line.startswith(begin) for line, begin in zip(lines, begins, strict=True)] == [True] * 6
    assert all("±" in line for line in lines[:5])
    gain = float(re.search(r"the best start has ([-+][\d.]+) ", lines[4])[1])
    assert lines[4].endswith("(paired)") == (gain > 0.0)


def test_a_start_that_is_no_gain_is_told(rllib, make_policy, tmp_path):
    """From its own start this policy acts at the upper bound, which no other start surpasses."""
    best = make_policy(0.0, variant="flow", steps=2).with_start("learned", np.array([1.0], np.float32))
    folder = best.save(tmp_path / "best")
    lines = rllib("evaluate", folder, *NAMED, "--episodes", 2, "--search-start", 2, "--output", "t").out.splitlines()
    assert lines[4].startswith("learned start, on those other episodes: ")
    assert lines[4].endswith("(paired), no gain: more starts, or more episodes for each, may find one")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--start", "zer"), "did you mean 'zero'"),
        (("--start", "learned"), "has no learned start; search one"),
        (("--search-start", 2), "name it with --output"),
        (("--output", "x"), "--output belongs to --search-start"),
        (("--search-start", 2, "--output", "x", "--start", "zero"), "--start does not go with --search-start"),
        (("--search-start", 2, "--output", "x", "--sweep"), "--search-start and --sweep"),
        (("--search-start", 2, "--output", "x", "--attribute"), "--attribute and --search-start"),
        (("--search-start", 2, "--output", "no/x"), "create it first"),
    ],
)
def test_refused_before_anything_is_played(refused, still, words, expected):
    assert expected in refused("evaluate", still, *NAMED, "--episodes", 2, *words)


def test_nothing_that_exists_is_overwritten(rllib, still):
    for taken in (still, Path(sys.executable)):
        answer = rllib("evaluate", still, *NAMED, "--search-start", 2, "--output", taken)
        assert (answer.status, answer.out) == (2, "")
        assert "exists; give the name of a new folder" in answer.err


def test_a_start_is_kept_saved_and_taken_off(make_policy, tmp_path):
    policy = make_policy(0.0, variant="flow", steps=2)
    with pytest.raises(ValueError, match="no learned start"):
        policy.with_start("learned")
    with pytest.raises(ValueError, match="no learned start"):
        policy.act(np.zeros(2, np.float32), start="learned")
    ticket = policy.with_start("learned", np.array([0.25], np.float32))
    ticket.save(tmp_path / "ticket")
    loaded = FlowPolicy.load(tmp_path / "ticket")
    seen = np.zeros((4, 2), np.float32)
    assert loaded.act(seen).tolist() == [[0.25]] * 4
    assert loaded.act(seen, start="zero").tolist() == [[0.0]] * 4
    assert loaded.with_start("zero").act(seen).tolist() == [[0.0]] * 4
    assert loaded.with_start("learned").act(seen).tolist() == [[0.25]] * 4
    assert loaded.act(seen, initial=np.full((4, 1), 0.5, np.float32)).tolist() == [[0.5]] * 4
    generators = [torch.Generator().manual_seed(2) for _ in range(2)]
    drawn = loaded.with_start("normal").act(seen, generator=generators[0])
    assert (drawn == policy.act(seen, generator=generators[1])).all()
    # Exploration and another drift start there too.
    score, noise = make_policy(0.0, variant="constant_alpha", steps=2).config.sde.score, policy.config.sde.noise
    tuned = loaded.with_dynamics(score, noise, loaded.config.sde.chain, "constant_alpha")
    assert tuned.distribution(torch.zeros(3, 2)).sample()[:, 0].tolist() == [[0.25]] * 3


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "flow"])
def test_every_variant_starts_anywhere_and_can_be_attributed(variant, tmp_path):
    """The registry's variants, so that a new one is not forgotten."""
    torch.manual_seed(0)
    score, noise = apply_variant("flow")
    velocity = VelocityConfig(hidden_dim=16, kind="epsilon" if VARIANTS[variant].path == "cosine" else "flow")
    bound = np.ones(2, np.float32)
    clone = FlowPolicy(
        PolicyConfig(
            observation_dim=2,
            action_dim=2,
            horizon=2,
            act_steps=2,
            sde=SDEConfig(velocity=velocity, score=score, noise=noise, chain=ChainConfig()),
        ),
        observation_low=-bound,
        observation_high=bound,
        action_low=-bound,
        action_high=bound,
    )
    ticket = np.array([0.5, -1.0, 0.0, 1.5], np.float32)
    chain = apply_chain(variant, {"start": "learned"})
    tuned = clone.with_start("learned", ticket).with_dynamics(*apply_variant(variant), chain, variant).eval()
    loaded = FlowPolicy.load(tuned.save(tmp_path / "tuned"))
    seen = np.random.default_rng(0).uniform(-1, 1, (5, 2)).astype(np.float32)
    for mode in ("policy", "flow"):
        for start, initial in (("learned", ticket), ("zero", 0 * ticket)):
            expected = tuned.act(seen, mode=mode, initial=np.tile(initial, (5, 1)))
            np.testing.assert_array_equal(loaded.act(seen, mode=mode, start=start), expected)
            np.testing.assert_array_equal(loaded.with_start(start).act(seen, mode=mode), expected)
        assert np.abs(loaded.act(seen, mode=mode) - loaded.act(seen, mode=mode, start="zero")).max() > 1e-4
    rows = attribution_rows(clone, loaded)
    assert [row.key for row in rows] == list("abcdefg")
    actions = [
        row.policy.act(seen, mode=row.manner.mode, start=row.manner.start, explore=row.manner.explore) for row in rows
    ]
    assert np.isfinite(actions).all()
