"""What an artefact says is checked: its hashes, its sizes before its tensors, its values; and old artefacts load."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.flow.config import SDEConfig
from rllib_scoreflow.policy import FlowPolicy, read_metadata

# Exported, and asked for actions, by the first release; drift, noise, a shortcut model and cameras among them.
SCHEMA_1 = Path(__file__).parent / "fixtures" / "schema-1"


@pytest.fixture
def saved(tmp_path):
    """A policy's folder in the present form."""
    return FlowPolicy.load(SCHEMA_1 / "scoreflow").save(tmp_path / "policy")


@pytest.fixture
def old(tmp_path):
    """A policy's folder in the first form, to damage."""
    folder = tmp_path / "old"
    folder.mkdir()
    for file in (SCHEMA_1 / "scoreflow").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def rewrite(folder, change):
    """Change policy.json, and let its hash of the weights be right."""
    content = json.loads((folder / "policy.json").read_text())
    change(content)
    (folder / "policy.json").write_text(json.dumps(content))


def reweigh(folder, change):
    """Change the weights, and let the hash of them be right."""
    weights = load_file(folder / "policy.safetensors")
    change(weights)
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / "policy.safetensors")
    digest = hashlib.sha256((folder / "policy.safetensors").read_bytes()).hexdigest()
    rewrite(folder, lambda content: content.update(weights_sha256=digest))


@pytest.mark.parametrize("name", ["scoreflow", "pixels"])
@pytest.mark.parametrize("again", [False, True], ids=["as it was written", "saved again"])
def test_an_artefact_of_the_first_release_gives_the_same_actions(tmp_path, name, again):
    policy = FlowPolicy.load(SCHEMA_1 / name)
    if again:
        policy = FlowPolicy.load(policy.save(tmp_path / "again"))
        assert read_metadata(tmp_path / "again").schema_version == 2
    with np.load(SCHEMA_1 / f"{name}.npz") as recorded:
        seen = recorded["state"]
        if "images" in recorded:
            seen = {"state": seen, "images": recorded["images"]}
        for key, options in (
            ("policy", {}),
            ("flow", {"mode": "flow"}),
            ("explored", {"explore": True, "generator": torch.Generator().manual_seed(1)}),
        ):
            actions = policy.act(seen, initial=recorded["initial"], **options)
            np.testing.assert_allclose(actions, recorded[key], rtol=1e-6, atol=1e-6, err_msg=key)


CHANGES = {
    "env_id": lambda content: content["metadata"].update(env_id="Walker2d-v4"),
    "env_config": lambda content: content["metadata"].update(env_config={"frame_skip": 1}),
    "act_steps": lambda content: content["config"].update(act_steps=1),
    "clip": lambda content: content["config"]["sde"]["score"].update(clip=0.5),
    "variant": lambda content: content["metadata"].update(variant="flow"),
    "dataset": lambda content: content["metadata"].update(dataset_sha256="11"),
    "denoising steps": lambda content: content["config"]["sde"]["chain"].update(denoising_steps=9),
    "an entry more": lambda content: content["metadata"]["versions"].update(torch="0"),
    "no hash": lambda content: content.pop("sha256", None),
    "another hash": lambda content: content.update(sha256="0" * 64),
    "a hash of another type": lambda content: content.update(sha256=[1]),
}


@pytest.mark.parametrize("what", CHANGES)
def test_every_entry_of_the_description_is_under_a_hash(saved, what):
    rewrite(saved, CHANGES[what])
    with pytest.raises(InputError, match=r"policy\.json' is not what was written \(its sha256 differs"):
        FlowPolicy.load(saved)
    with pytest.raises(InputError, match="is not what was written"):
        read_metadata(saved)


def test_spaces_and_order_of_the_description_do_not_count(saved):
    content = json.loads((saved / "policy.json").read_text())
    (saved / "policy.json").write_text(json.dumps(dict(reversed(content.items()))))
    FlowPolicy.load(saved)


def first(weights, name):
    return weights[name].view(-1)[:1]


WEIGHTS = {
    "NaN": (lambda w: first(w, "sde.velocity.mlp.0.weight").fill_(torch.nan), "training diverged"),
    "infinity": (lambda w: first(w, "sde.noise.sigma_max").fill_(torch.inf), "training diverged"),
    "NaN bound": (lambda w: first(w, "observation_normalizer.low").fill_(torch.nan), "training diverged"),
    "order": (lambda w: first(w, "action_normalizer.low").fill_(2.0), "lower bound above its upper one"),
    "dtype": (lambda w: w.update({"action_normalizer.low": w["action_normalizer.low"].int()}), "is int32 of shape"),
    "missing": (lambda w: w.pop("action_normalizer.high"), "missing|bytes"),
    "more": (lambda w: w.update({"x" * 5000: torch.zeros(2)}), "is float32 of shape"),
}


@pytest.mark.parametrize("what", WEIGHTS)
def test_values_that_no_policy_can_have_are_refused_in_old_artefacts_too(old, what):
    change, words = WEIGHTS[what]
    name = next(n for n in load_file(old / "policy.safetensors") if n.startswith("sde.velocity") and "weight" in n)
    if what == "NaN":
        reweigh(old, lambda w: first(w, name).fill_(torch.nan))
    else:
        reweigh(old, change)
    with pytest.raises(InputError, match=words) as error:
        FlowPolicy.load(old)
    assert len(str(error.value)) < 700


SIZES = {
    "observation_dim": lambda c: c["config"].update(observation_dim=10**9),
    "action_dim": lambda c: c["config"].update(action_dim=10**9),
    "horizon": lambda c: c["config"].update(horizon=10**6),
    "hidden_dim": lambda c: c["config"]["sde"]["velocity"].update(hidden_dim=10**9),
    "hidden_dim of 30 digits": lambda c: c["config"]["sde"]["velocity"].update(hidden_dim=10**30),
    "num_layers": lambda c: c["config"]["sde"]["velocity"].update(num_layers=10**9),
    "condition_dims": lambda c: c["config"]["sde"]["velocity"].update(condition_dims=[8] * 10**6),
    "negative width": lambda c: c["config"]["sde"]["velocity"].update(condition_dims=[-8]),
    "hidden_dims": lambda c: c["config"]["sde"]["noise"].update(hidden_dims=[10**9, 10**9]),
    "cameras": lambda c: c["config"].update(cameras=["a"] * 10**5, image_size=[84, 84]),
    "image_size": lambda c: c["config"].update(cameras=["a"], image_size=[10**9, 10**9]),
    "denoising_steps": lambda c: c["config"]["sde"]["chain"].update(denoising_steps=10**9),
    "variant": lambda c: c["metadata"].update(variant="x" * 10**6),
    "key": lambda c: c["config"].update({"k" * 10**6: 1}),
    "version": lambda c: c.update(schema_version=[0] * 10**6),
    "version true": lambda c: c.update(schema_version=True),
    "depth": lambda c: c["metadata"].update(env_config=json.loads('{"a":' * 150 + "1" + "}" * 150)),
    "NaN": lambda c: c["metadata"].update(env_config={"a": float("nan")}),
}


@pytest.mark.parametrize("what", SIZES)
def test_what_a_description_asks_for_is_checked_before_it_is_built(old, what):
    rewrite(old, SIZES[what])
    begin = time.process_time()
    with pytest.raises(InputError) as error:
        FlowPolicy.load(old)
    assert time.process_time() - begin < 5
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 800
    assert "policy.json" in str(error.value)


def test_a_large_file_in_the_place_of_the_weights_is_not_read(old):
    with (old / "policy.safetensors").open("r+b") as file:
        file.truncate(1 << 40)  # sparse
    with pytest.raises(InputError, match="has 1099511627776 bytes"):
        FlowPolicy.load(old)


def test_overwriting_replaces_a_policy_and_deletes_nothing_else(saved, tmp_path):
    policy = FlowPolicy.load(saved)
    policy.save(saved, overwrite=True)
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter.tex").write_text("x")
    with pytest.raises(InputError, match=r"thesis' holds other things than a policy \(such as 'chapter\.tex'\)"):
        policy.save(precious, overwrite=True)
    (saved / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"such as 'notes\.txt'"):
        policy.save(saved, overwrite=True)
    (tmp_path / "link").symlink_to(precious)
    with pytest.raises(InputError, match="is not a folder that could be overwritten"):
        policy.save(tmp_path / "link", overwrite=True)
    with pytest.raises(InputError, match="is not a folder that could be overwritten"):
        policy.save(precious / "chapter.tex", overwrite=True)
    assert (precious / "chapter.tex").read_text() == "x"
    assert (saved / "notes.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    FlowPolicy.load(policy.save(tmp_path / "empty", overwrite=True))


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_writes_stays(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from rllib_scoreflow.files.atomic import atomic_folder, atomic_path\n"
        "folder = Path(sys.argv[1])\n"
        "with atomic_folder(folder / 'policy') as a, atomic_path(folder / 'x.json') as b:\n"
        "    (a / 'half').write_text('half'); b.write_text('half'); print('ready', flush=True); time.sleep(60)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"ready\n"
    policy = FlowPolicy.load(SCHEMA_1 / "scoreflow")
    policy.save(tmp_path / "one")
    assert len([entry for entry in tmp_path.iterdir() if ".tmp" in entry.name]) == 2
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    mine = tmp_path / ".notes.tmp.txt"
    mine.write_text("not ours")
    policy.save(tmp_path / "two")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [mine.name, "one", "two"]


@pytest.mark.parametrize("name", ["scoreflow", "pixels"])
def test_comparing_sizes_does_not_load_the_compiler(name):
    code = (
        "import sys\nfrom rllib_scoreflow.policy import FlowPolicy\n"
        f"FlowPolicy.load({str(SCHEMA_1 / name)!r})\nprint('torch._dynamo' in sys.modules)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"


@pytest.mark.parametrize("velocity", [None, [], 3, {"type": None}, {"type": ["mlp"]}, {"type": "mlp", "a b": 1}])
def test_a_velocity_field_of_another_form_is_refused(velocity) -> None:
    with pytest.raises(ValidationError):
        SDEConfig.model_validate({"velocity": velocity})
