import dataclasses
import hashlib
import json
import shutil

import pytest

from rllib_scoreflow.data.readers.reinflow import NORMALIZATION
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.experiments.checks.algorithms import find_algorithm
from rllib_scoreflow.experiments.checks.config import build_config
from rllib_scoreflow.experiments.identity import Identity, identify, with_absolute_paths
from rllib_scoreflow.experiments.spec import Experiment
from rllib_scoreflow.experiments.weights import policy_digest, require_policy
from rllib_scoreflow.files.policy_folder import find_policy
from rllib_scoreflow.reports import run_folder
from rllib_scoreflow.runs import stages
from rllib_scoreflow.runs.export import export_policy
from rllib_scoreflow.runs.stages import State, state_of

EXPERIMENT = Experiment("exp", "f.yaml", "PPO", env="CartPole-v1", stop={"training_iteration": 3})
STOP = {"training_iteration": 3.0}


def digest(experiment=EXPERIMENT, config=None, weights=None):
    return identify(experiment, config if config is not None else {"gamma": 0.9}, weights).digest


def test_the_key_covers_what_decides_the_result():
    same = digest()
    assert same == digest()
    others = {
        digest(config={"gamma": 0.99}),
        digest(weights="abc"),
        digest(dataclasses.replace(EXPERIMENT, env="Other-v0")),
        digest(dataclasses.replace(EXPERIMENT, num_samples=2)),
        digest(dataclasses.replace(EXPERIMENT, source_text="x")),
        digest(dataclasses.replace(EXPERIMENT, checkpoint={"checkpoint_score_attribute": "return_mean"})),
        digest(
            dataclasses.replace(
                EXPERIMENT,
                checkpoint={"checkpoint_score_attribute": "return_mean", "checkpoint_score_order": "min"},
            )
        ),
    }
    assert len(others) == 7
    assert same not in others
    # Where it runs, how long, how often it may fail and is saved on the way does not.
    assert digest(dataclasses.replace(EXPERIMENT, settings={"max_failures": 3})) == same
    assert digest(dataclasses.replace(EXPERIMENT, stop={"training_iteration": 4})) == same
    assert digest(dataclasses.replace(EXPERIMENT, checkpoint={"checkpoint_frequency": 3})) == same


@pytest.mark.parametrize(
    ("config", "changed"),
    [
        ({"dataset": "a.hdf5"}, "a.hdf5"),
        ({"dataset": {"grid_search": ["a.hdf5", "b.hdf5"]}}, "b.hdf5"),
        ({"dataset": {"choice": ["a.hdf5", "b.hdf5"]}}, "b.hdf5"),
        ({"dataset": "train.npz"}, NORMALIZATION),
        ({"pretrained_policy": "policy"}, "policy/policy.safetensors"),
        ({"pretrained_policy": "checkpoint"}, "checkpoint/policy/policy.json"),
        ({"pretrained_policy": {"grid_search": ["policy", "checkpoint"]}}, "checkpoint/policy/policy.json"),
        ({"env_config": {"model": "robots/arm.xml"}}, "robots/arm.xml"),
        ({"env_config": {"models": [{"file": "arm.xml"}]}}, "arm.xml"),
        ({"env_config": {"grid_search": [{"model": "arm.xml"}, {"model": "b.hdf5"}]}}, "arm.xml"),
        ({"input_": ["episodes/a.json"]}, "episodes/a.json"),
    ],
)
def test_files_count_by_their_contents_and_not_by_their_places(tmp_path, monkeypatch, config, changed):
    def fill(folder):
        for name in ("a.hdf5", "b.hdf5", "train.npz", NORMALIZATION, "robots/arm.xml", "arm.xml", "episodes/a.json"):
            (folder / name).parent.mkdir(exist_ok=True, parents=True)
            (folder / name).write_bytes(b"one")
        make_policy(folder / "policy")
        make_policy(folder / "checkpoint" / "policy")
        monkeypatch.chdir(folder)

    fill(tmp_path / "here" / "data")
    before = digest(config=config)
    fill(tmp_path / "there" / "data")
    assert digest(config=config) == before
    assert digest(config=with_absolute_paths(config)) == before
    (tmp_path / "there" / "data" / changed).write_bytes(b"two")
    assert digest(config=config) != before


@pytest.mark.parametrize("changed", ["arm_of_ours.py", "robots_of_ours/deep/gripper.py"])
def test_the_source_of_a_plugin_counts(tmp_path, monkeypatch, changed):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "robots_of_ours" / "deep").mkdir(parents=True)
    for name in ("arm_of_ours.py", "robots_of_ours/__init__.py", "robots_of_ours/deep/gripper.py"):
        (tmp_path / name).write_text("x = 1")
    module = changed.partition("/")[0].removesuffix(".py")

    def keys():
        ours = [dataclasses.replace(EXPERIMENT, **{key: f"{module}:Arm"}) for key in ("env", "run")]
        return {*map(digest, ours), digest(config={"plugins": [module]})}

    before = keys()
    assert keys() == before
    (tmp_path / changed).write_text("x = 2")
    assert not before & keys()


def test_paths_are_absolute_for_a_trial(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("a.hdf5", "arm.xml", "torch"):
        (tmp_path / name).write_bytes(b"one")
    make_policy(tmp_path / "policy")
    assert with_absolute_paths(
        {
            "dataset": {"grid_search": ["a.hdf5", "~/a.hdf5", "hopper-small"]},
            "pretrained_policy": "policy",
            "env_config": {"model": "arm.xml", "more": ["~/arm.xml", 1], "task": "policy"},
            "framework_str": "torch",
        }
    ) == {
        "dataset": {"grid_search": [f"{tmp_path}/a.hdf5", f"{tmp_path}/a.hdf5", "hopper-small"]},
        "pretrained_policy": f"{tmp_path}/policy",
        "env_config": {"model": f"{tmp_path}/arm.xml", "more": [f"{tmp_path}/arm.xml", 1], "task": "policy"},
        "framework_str": "torch",
    }


def test_a_home_folder_may_stand_for_a_policy_and_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    policy = make_policy(tmp_path / "policy")
    (tmp_path / "arm.xml").write_bytes(b"one")
    assert find_policy("~/policy") == policy
    config = {"env_config": {"model": "~/arm.xml"}}
    built = build_config(EXPERIMENT, find_algorithm("PPO", "here"), config)
    assert built.env_config == {"model": f"{tmp_path}/arm.xml"}


def key(digest):
    return Identity(digest, lambda stop: None)


def state(folder, mark="same", stop=STOP, *, resume=False, overwrite=False):
    return state_of(folder, key(mark), stop, resume=resume, overwrite=overwrite, where="f.yaml: exp")


def note(folder, name, **more):
    run_folder.write_json(folder / name, {"fingerprint": "same", "fingerprint_version": 2, "stop": STOP, **more})


def test_states_of_a_folder(tmp_path):
    folder = tmp_path / "exp"
    assert state(folder) is State.NEW
    note(folder, run_folder.BEGUN_JSON)
    with pytest.raises(InputError, match="--resume"):
        state(folder)
    assert state(folder, resume=True) is State.UNFINISHED
    assert state(folder, overwrite=True) is State.NEW
    with pytest.raises(InputError, match="another configuration"):
        state(folder, "other", resume=True)
    note(folder, run_folder.DONE_JSON)
    assert state(folder) is state(folder, overwrite=True) is State.FINISHED
    with pytest.raises(InputError, match="--overwrite"):
        state(folder, "other")
    assert state(folder, "other", overwrite=True) is State.NEW


def finished_trial(folder, name="trial_00000", iteration=3):
    trial = folder / name
    (trial / "checkpoint_000000").mkdir(parents=True)
    (trial / "result.json").write_text(json.dumps({"training_iteration": iteration, "env_steps": 5, "done": True}))
    return trial


def test_a_larger_stop_goes_on_and_a_smaller_one_is_finished(tmp_path):
    folder = tmp_path / "exp"
    note(folder, run_folder.DONE_JSON)
    trial = finished_trial(folder)
    assert state(folder, stop={"training_iteration": 2.0}) is State.FINISHED
    assert state(folder, stop={"training_iteration": 4.0}) is State.EXTENDED
    assert state(folder, stop={"env_steps": 10.0}) is State.EXTENDED
    assert state(folder, stop={"steps_under_a_later_name": 10.0}) is State.FINISHED
    shutil.rmtree(trial / "checkpoint_000000")
    with pytest.raises(InputError, match=r"ended at training_iteration 3 and left no checkpoint"):
        state(folder, stop={"training_iteration": 4.0})
    assert state(folder, stop={"training_iteration": 4.0}, overwrite=True) is State.NEW


def test_what_ended_by_itself_has_nothing_left_to_do(tmp_path):
    folder = tmp_path / "exp"
    note(folder, run_folder.DONE_JSON)
    finished_trial(folder, iteration=2)  # before its stop: early stopping, or a scheduler
    assert state(folder, stop={"training_iteration": 9.0}) is State.FINISHED
    finished_trial(folder, "trial_00001")
    assert state(folder, stop={"training_iteration": 9.0}) is State.EXTENDED


def first_version(config, stop):
    """What the first version wrote as the key of EXPERIMENT."""
    parts = {
        "run": "PPO", "env": "CartPole-v1", "config": config, "stop": stop, "num_samples": 1, "settings": {},
        "source": None, "weights": None, "dataset": None,
    }  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest()


@pytest.mark.parametrize("stop", [{"training_iteration": 3}, {"training_iteration": 4}])
def test_a_folder_of_the_first_version_is_known(tmp_path, stop):
    folder, config = tmp_path / "exp", {"gamma": 0.9}
    old = {"fingerprint": first_version(config, {"training_iteration": 3}), "stop": {"training_iteration": 3.0}}
    run_folder.write_json(folder / run_folder.DONE_JSON, old)
    finished_trial(folder)
    experiment = dataclasses.replace(EXPERIMENT, stop=stop)
    checked = {name: float(value) for name, value in stop.items()}

    def found(config):
        identity = identify(experiment, config, None)
        return state_of(folder, identity, checked, resume=False, overwrite=False, where="f.yaml: exp")

    assert found(config) is (State.FINISHED if stop == EXPERIMENT.stop else State.EXTENDED)
    with pytest.raises(InputError, match="another configuration"):
        found({"gamma": 0.8})


def test_the_first_version_is_not_believed_where_it_did_not_look(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "arm.xml").write_bytes(b"one")
    config = {"env_config": {"model": "arm.xml"}}
    assert identify(EXPERIMENT, config, None).of_first_version(None) is None


def test_a_folder_of_someone_else_is_never_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="in the way"):
            state(tmp_path, overwrite=overwrite)
    with pytest.raises(InputError, match="leaves it"):
        stages.clear(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_json_appears_whole(tmp_path):
    class Broken:
        def __str__(self):
            raise RuntimeError("no text")

    target = tmp_path / "a.json"
    run_folder.write_json(target, {"x": 1})
    with pytest.raises(RuntimeError):
        run_folder.write_json(target, {"x": Broken()})
    assert json.loads(target.read_text()) == {"x": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def make_policy(folder, weights=b"w"):
    folder.mkdir(parents=True)
    (folder / "policy.json").write_text("{}")
    (folder / "policy.safetensors").write_bytes(weights)
    return folder


def test_policies_are_found_and_told_apart(tmp_path):
    policy = make_policy(tmp_path / "checkpoint" / "policy")
    assert require_policy(policy, "x") == require_policy(policy.parent, "x") == policy
    assert require_policy(policy / "policy.json", "x") == policy
    assert policy_digest(policy) != policy_digest(make_policy(tmp_path / "other", b"v"))
    with pytest.raises(InputError, match="holds no policy"):
        require_policy(tmp_path, "x")
    with pytest.raises(InputError, match="does not exist"):
        require_policy(tmp_path / "none", "x")


def test_the_policy_of_a_checkpoint_is_exported(tmp_path):
    checkpoint, folder = tmp_path / "checkpoint", tmp_path / "exp"
    folder.mkdir()
    make_policy(checkpoint / "policy", b"new")
    make_policy(folder / "policy", b"old")
    assert export_policy(checkpoint, folder) == folder / "policy"
    assert (folder / "policy" / "policy.safetensors").read_bytes() == b"new"
    assert [path.name for path in folder.iterdir()] == ["policy"]
    assert export_policy(folder / "policy" / "..", tmp_path) is not None
    (tmp_path / "empty").mkdir()
    assert export_policy(tmp_path / "empty", folder) is None
