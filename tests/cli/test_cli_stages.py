import dataclasses
import json

import pytest

from rllib_scoreflow.cli import stages
from rllib_scoreflow.cli.experiments import Experiment
from rllib_scoreflow.cli.export import export_policy
from rllib_scoreflow.cli.stages import State, fingerprint, state_of
from rllib_scoreflow.cli.weights import policy_digest, require_policy
from rllib_scoreflow.errors import InputError

EXPERIMENT = Experiment("exp", "f.yaml", "PPO", env="CartPole-v1", stop={"training_iteration": 3})


def digest(experiment=EXPERIMENT, config=None, weights=None):
    return fingerprint(experiment, config if config is not None else {"gamma": 0.9}, weights)


def test_the_fingerprint_covers_what_decides_the_result(tmp_path):
    data = tmp_path / "data.hdf5"
    data.write_bytes(b"one")
    same = digest()
    assert same == digest()
    others = {
        digest(config={"gamma": 0.99}),
        digest(weights="abc"),
        digest(dataclasses.replace(EXPERIMENT, env="Other-v0")),
        digest(dataclasses.replace(EXPERIMENT, stop={"training_iteration": 4})),
        digest(dataclasses.replace(EXPERIMENT, num_samples=2)),
        digest(dataclasses.replace(EXPERIMENT, source_text="x")),
        digest(config={"gamma": 0.9, "dataset": str(data)}),
    }
    data.write_bytes(b"two")
    others.add(digest(config={"gamma": 0.9, "dataset": str(data)}))
    assert len(others) == 8
    assert same not in others
    # Where it runs and how often it may fail does not.
    assert digest(dataclasses.replace(EXPERIMENT, settings={"max_failures": 3})) == same


def state(folder, mark="same", *, resume=False, overwrite=False):
    return state_of(folder, mark, resume=resume, overwrite=overwrite, where="f.yaml: exp")


def test_states_of_a_folder(tmp_path):
    folder = tmp_path / "exp"
    assert state(folder) is State.NEW
    stages.write_json(folder / stages.BEGUN_JSON, {"fingerprint": "same"})
    with pytest.raises(InputError, match="--resume"):
        state(folder)
    assert state(folder, resume=True) is State.UNFINISHED
    assert state(folder, overwrite=True) is State.NEW
    with pytest.raises(InputError, match="another configuration"):
        state(folder, "other", resume=True)
    stages.write_json(folder / stages.DONE_JSON, {"fingerprint": "same"})
    assert state(folder) is state(folder, overwrite=True) is State.FINISHED
    with pytest.raises(InputError, match="--overwrite"):
        state(folder, "other")
    assert state(folder, "other", overwrite=True) is State.NEW


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
    stages.write_json(target, {"x": 1})
    with pytest.raises(RuntimeError):
        stages.write_json(target, {"x": Broken()})
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
