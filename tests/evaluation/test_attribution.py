"""The seven rows on a policy whose actions are known in closed form."""

import json
import shutil
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib_scoreflow.envs import sub_env_seeds
from rllib_scoreflow.evaluation import EvaluationResult, evaluate_policy
from rllib_scoreflow.evaluation.attribution import COMPARISONS, compare_rows
from rllib_scoreflow.evaluation.paired import Manner, Place, play_same_episodes
from rllib_scoreflow.experiments.weights import policy_digest
from rllib_scoreflow.flow.config import NoiseConfig, ScoreConfig
from rllib_scoreflow.policy import FlowPolicy
from rllib_scoreflow.reports import run_folder
from rllib_scoreflow.reports.attribution import AttributionRow, cells_of, headings_of

TOY = "toy_envs:ToyCountdown-v0"
NAMED = ("--env", TOY)
SEED, EPISODES = 5, 12
CLONE, TUNED = 0.1, 0.4


def returns_of(action_of_start) -> np.ndarray:
    """Of every episode, from the environment's rule and the draws: its steps are rewarded by number plus action."""
    limits = []
    for seed in sub_env_seeds(SEED, EPISODES):
        env = gym.make(TOY)
        limits.append(int(env.reset(seed=seed)[0][1]))
    generator = torch.Generator().manual_seed(SEED)
    starts = torch.cat([torch.randn((EPISODES, 1), generator=generator) for _ in range(max(limits))], dim=1).numpy()
    actions = np.clip(action_of_start(starts.astype(np.float64)), -1, 1)
    return np.array([n * (n + 1) / 2 + actions[i, :n].sum() for i, n in enumerate(limits)])


def expected_rows() -> dict[str, np.ndarray]:
    """A constant velocity moves a start by itself. Its estimate of the noise at t = 0 is the start x, of which the
    first of K = 2 steps keeps, beside half of x + v, 0.5 * 0.5 in place of 0.5: 0.75 x + v / 2, and then v / 2 more."""
    return {
        "a": returns_of(lambda x: x + CLONE),
        "b": returns_of(lambda x: 0 * x + CLONE),
        "c": returns_of(lambda x: 0.75 * x + CLONE),
        "d": returns_of(lambda x: x + TUNED),
        "e": returns_of(lambda x: 0.75 * x + TUNED),
        "f": returns_of(lambda x: 0 * x + TUNED),
    }


@pytest.fixture
def run(tmp_path, make_policy):
    """What a finished run leaves: its policy, and where it started from."""
    clone = make_policy(CLONE, variant="flow", steps=4).save(tmp_path / "file" / "pre" / "policy")
    folder = tmp_path / "file" / "tune"
    make_policy(TUNED, variant="constant_alpha", steps=2).save(folder / "policy")
    about = {
        "experiment": "tune",
        "run": "ScoreFlow",
        "env": TOY,
        "config": {},
        "stop": {"training_iteration": 1.0},
        "pretrained_policy": str(clone),
        "pretrained_policy_sha256": policy_digest(clone),
    }
    run_folder.write_json(folder / run_folder.BEGUN_JSON, about)
    run_folder.write_json(folder / run_folder.DONE_JSON, {**about, "pretrained_policy": None, "policy": "policy"})
    return folder


WORDS = ("--attribute", "--episodes", EPISODES, "--seed", SEED)


def test_the_seven_rows_are_what_the_closed_form_says(rllib, run):
    answer = rllib("evaluate", run, *NAMED, *WORDS, "--json", "--plot", "rows.png")
    assert answer.status == 0, answer.err
    found = json.loads(answer.out)
    expected = expected_rows()
    rows = {row["row"]: row for row in found["rows"]}
    assert list(rows) == list("abcdefg")
    for key, returns in expected.items():
        np.testing.assert_allclose(rows[key]["returns"], returns, atol=2e-5)
        assert rows[key]["return_stderr"] == pytest.approx(returns.std(ddof=1) / EPISODES**0.5, rel=1e-4)
        difference = returns - expected["a"]
        assert rows[key]["minus_a"]["return_mean"] == pytest.approx(difference.mean(), abs=1e-5)
        assert rows[key]["minus_a"]["return_stderr"] == pytest.approx(difference.std(ddof=1) / EPISODES**0.5, abs=1e-5)
    assert [(row["start"], row["denoising_steps"], row["explore"]) for row in found["rows"]] == [
        ("normal", 4, False),
        ("zero", 4, False),
        ("normal", 2, False),
        ("normal", 2, False),
        ("normal", 2, False),
        ("zero", 2, False),
        ("normal", 2, True),
    ]
    # Noise of 0.1 in each of two steps moves the actions, from the same starts, by little and not on one side.
    moved = np.array(rows["g"]["returns"]) - expected["e"]
    assert 0.01 < np.abs(moved).mean() < 1.0
    assert found["comparisons"][-2]["return_mean"] == pytest.approx(moved.mean(), abs=1e-5)
    # Every episode has the same length in all rows, and so the same success.
    assert len({tuple(row["lengths"]) for row in found["rows"]}) == 1
    assert {one["success_mean"] for one in found["comparisons"]} == {0.0}
    assert Path("rows.png").read_bytes().startswith(b"\x89PNG")


def test_the_folder_of_a_file_stands_for_the_experiment_that_ends_it(rllib, refused, run):
    beginning = {"experiment": "pre", "run": "FlowBC", "env": TOY, "config": {}, "stop": {"training_iteration": 1.0}}
    for name in (run_folder.BEGUN_JSON, run_folder.DONE_JSON):
        run_folder.write_json(run.parent / "pre" / name, beginning)
    answer = rllib("evaluate", run.parent, *NAMED, *WORDS, "--json")
    assert answer.status == 0, answer.err
    found = json.loads(answer.out)
    assert Path(found["file"]).parent == run
    assert [row["return_mean"] for row in found["rows"][:2]] == pytest.approx(
        [expected_rows()[key].mean() for key in "ab"], abs=1e-5
    )
    # The whole may have been moved; without one that ends the file the user has to choose.
    moved = run.parent.rename(run.parent.with_name("elsewhere"))
    assert "attribution.json exists" in rllib("evaluate", moved, *NAMED, *WORDS).err
    for name in (run_folder.BEGUN_JSON, run_folder.DONE_JSON):
        run_folder.write_json(moved / "other" / name, beginning)
    sentence = refused("evaluate", moved, *NAMED)
    assert "holds several finished experiments (other, tune)" in sentence


def test_the_policy_can_be_filmed_beside_the_rows(refused, run):
    words = (*NAMED, "--attribute", "--episodes", 2)
    sentence = refused("evaluate", run, *words, "--contact-sheet", "sheet.png")
    assert "render" in sentence  # the toy cannot be: known before the rows are played


def test_differences_are_paired_and_learning_is_best_against_best(rllib, run):
    found = json.loads(rllib("evaluate", run, *NAMED, *WORDS, "--json").out)
    expected = expected_rows()
    for comparison, (row, other, name) in zip(found["comparisons"], COMPARISONS, strict=False):
        assert (comparison["row"], comparison["minus"], comparison["name"]) == (row, other, name)
        difference = expected[row] - expected[other]
        assert comparison["return_mean"] == pytest.approx(difference.mean(), abs=1e-5)
        assert comparison["return_stderr"] == pytest.approx(difference.std(ddof=1) / EPISODES**0.5, abs=1e-5)
    best = [max(keys, key=lambda key: expected[key].mean()) for keys in ("def", "abc")]
    learned = found["comparisons"][-1]
    assert [learned["row"], learned["minus"]] == best
    # From a zero start both act by their velocities alone, so that what was learned is known without any draw.
    training = next(one for one in found["comparisons"] if (one["row"], one["minus"]) == ("f", "b"))
    lengths = np.array(found["rows"][0]["lengths"])
    assert training["return_mean"] == pytest.approx((TUNED - CLONE) * lengths.mean(), abs=1e-5)


@pytest.mark.parametrize(("start", "other"), [("normal", "e"), ("zero", "f"), ("learned", None)])
def test_exploration_is_compared_with_the_row_of_the_same_start(start, other):
    """So that the noise alone makes the difference."""
    row = EvaluationResult("Toy-v0", "gymnasium", 0, returns=(1.0, 2.0), lengths=(3, 3), successes=(None, None))
    found = [(one["row"], one["minus"]) for one in compare_rows(dict.fromkeys("abcdefg", row), start)]
    assert [minus for key, minus in found if key == "g"] == ([other] if other else [])


@pytest.mark.parametrize(("rates", "told"), [((None, None), False), ((None, 0.5), True)])
def test_success_has_a_column_where_it_is_told(rates, told):
    same = {
        "row": "a",
        "name": "clone",
        "denoising_steps": 4,
        "start": "zero",
        "return_mean": 1.0,
        "return_stderr": 0.1,
    }
    difference = {"return_mean": 0.0, "return_stderr": 0.0}
    rows = [
        AttributionRow.model_validate({**same, "success_rate": rate, "success_stderr": None, "minus_a": difference})
        for rate in rates
    ]
    assert ("success %" in headings_of(rows)) == told
    assert len(cells_of(rows[0])) == len(headings_of(rows)) + (not told)


def test_the_rows_are_kept_shown_by_report_and_not_replaced_silently(rllib, run):
    answer = rllib("evaluate", run, *NAMED, *WORDS)
    assert answer.status == 0, answer.err
    lines = answer.out.splitlines()
    assert [line.split()[0] for line in lines[2:9]] == list("abcdefg")
    assert lines[9] == "paired differences:"
    assert lines[1].split() == ["row", "policy", "K", "start", "return", "minus", "(a)", "success", "%"]
    assert "(f) - (b)  training, from a zero start: +" in answer.out
    kept = (run / "attribution.json").read_text()
    again = rllib("evaluate", run, *NAMED, *WORDS)
    assert (again.status, again.out) == (2, "")
    assert "--overwrite" in again.err
    assert rllib("evaluate", run, *NAMED, *WORDS, "--overwrite", "--seed", SEED + 1).status == 0
    assert (run / "attribution.json").read_text() != kept
    (run / "attribution.json").write_text(kept)
    for form, cell in (
        ("html", "<td>fine-tuned, zero start</td>"),
        ("md", "| f | fine-tuned, zero start | 2 | zero |"),
    ):
        answer = rllib("report", run, "--format", form)
        assert answer.status == 0, answer.err
        text = (run / f"report.{form}").read_text()
        assert cell in text
        assert f"Attribution: {EPISODES} episodes each, seed {SEED}" in text
        assert "(f) - (b)  training, from a zero start: +" in text
    (run / "attribution.json").write_text(kept.replace('"seed": 5', '"seed": "<5>"'))
    told = rllib("report", run, "--overwrite").err
    assert "attribution.json has a bad entry 'seed'" in told


def test_a_run_knows_its_clone_also_where_both_were_moved(rllib, refused, run, tmp_path, make_policy):
    moved = tmp_path / "elsewhere"
    shutil.move(run.parent, moved)
    few = (*NAMED, "--attribute", "--episodes", 1, "--json")
    answer = rllib("evaluate", moved / "tune", *few)
    assert answer.status == 0, answer.err
    found = json.loads(answer.out)
    assert found["clone"] == str(moved / "pre" / "policy")
    # Of one episode there is no standard error.
    assert {row["return_stderr"] for row in found["rows"]} == {None}
    shutil.move(moved / "pre", moved / "renamed")
    (moved / "tune" / "attribution.json").unlink()
    told = refused("evaluate", moved / "tune", *few)
    assert "is not there any more" in told
    assert "--clone POLICY" in told
    assert rllib("evaluate", moved / "tune", *few, "--clone", moved / "renamed").status == 0
    # The policy alone has no place for what is found, and does not say where it came from.
    policy = tmp_path / "policy"
    shutil.copytree(moved / "tune" / "policy", policy)
    assert "does not say which policy it started from" in refused("evaluate", policy, *few)
    assert rllib("evaluate", policy, *few, "--clone", moved / "renamed").status == 0
    assert sorted(path.name for path in policy.iterdir()) == ["policy.json", "policy.safetensors"]
    other = make_policy(0.3, variant="flow", steps=4).save(tmp_path / "other")
    told = refused("evaluate", moved / "tune", *few, "--overwrite", "--clone", other)
    assert "another policy than the one" in told


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--attribute", "--denoising-steps", 4), "--denoising-steps does not go with --attribute"),
        (("--attribute", "--start", "zero"), "--start does not go with --attribute"),
        (("--attribute", "--sweep"), "--attribute and --sweep"),
        (("--attribute", "--variant", "flow,scoreflow"), "--attribute and --sweep (or several"),
        (("--attribute", "--plot", "a.pdf"), "ends in .png"),
        (("--clone", "x"), "--clone belongs to --attribute"),
        (("--overwrite",), "--overwrite belongs to --attribute"),
    ],
)
def test_what_does_not_go_together_is_refused(refused, run, words, expected):
    assert expected in refused("evaluate", run, *NAMED, *words)


def test_a_clone_has_nothing_to_attribute(refused, run):
    policy = run.parent / "pre"
    for words in ((), ("--clone", policy)):
        assert "was cloned and not fine-tuned" in refused("evaluate", policy, *NAMED, "--attribute", *words)


def test_a_plain_flow_that_was_fine_tuned_has_something_to_attribute(rllib, run):
    # FPO trains the velocity of a plain flow.
    policy = FlowPolicy.load(run / "policy")
    chain = policy.config.sde.chain
    tuned = policy.with_dynamics(ScoreConfig(strength="none"), NoiseConfig(kind="none"), chain, "flow")
    tuned.metadata = policy.metadata.model_copy(update={"variant": "flow", "env_steps": 1000})
    shutil.rmtree(run / "policy")
    tuned.save(run / "policy")
    answer = rllib("evaluate", run, *NAMED, *WORDS, "--json")
    assert answer.status == 0, answer.err
    rows = {row["row"]: row["returns"] for row in json.loads(answer.out)["rows"]}
    assert rows["d"] == rows["e"]
    np.testing.assert_allclose(rows["e"], expected_rows()["d"], rtol=1e-5)


def test_up_to_forty_episodes_are_those_of_an_evaluation_and_more_begin_alike(make_policy):
    policy = make_policy(TUNED, variant="constant_alpha", steps=2).eval()
    place = Place(TOY, {})
    generator = torch.Generator().manual_seed(3)
    whole = evaluate_policy(
        lambda seen: policy.act(seen, generator=generator), TOY, episodes=30, seed=3, act_steps=1, horizon=1
    )
    assert play_same_episodes(policy, Manner(), place, episodes=30, seed=3) == whole
    many, other = (
        play_same_episodes(policy, manner, place, episodes=90, seed=3) for manner in (Manner(), Manner("flow", "zero"))
    )
    assert many.lengths == other.lengths
    assert len(many.lengths) == 90
    assert many.lengths[:10] != many.lengths[40:50] != many.lengths[80:]
    assert many.metrics["limit"] == tuple(map(float, many.lengths))
