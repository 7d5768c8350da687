"""``rllib policy push`` and ``pull``, and ``hf:ORG/NAME`` where a policy is named, against a stand-in of the Hub."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from rllib_scoreflow.files.digest import json_digest
from rllib_scoreflow.files.policy_folder import POLICY_JSON, POLICY_WEIGHTS
from rllib_scoreflow.policy import FlowPolicy

ENV = ("--env", "toy_envs:ToyShown-v0")
FILES = [POLICY_JSON, POLICY_WEIGHTS]


def push(rllib, policy, *options, to="hf:me/toy"):
    answer = rllib("policy", "push", policy, to, "--json", *options)
    assert answer.status == 0, answer.err
    return json.loads(answer.out)


def actions_of(folder):
    torch.manual_seed(3)
    noise = torch.randn(5, 4)
    return FlowPolicy.load(folder).act(np.linspace(0, 12, 10, dtype=np.float32).reshape(5, 2), initial=noise)


def contents(folder):
    return {name: (Path(folder) / name).read_bytes() for name in FILES}


def test_a_policy_that_was_pushed_and_pulled_acts_the_same_to_the_bit(rllib, hub, make_policy):
    policy = make_policy()
    (policy / "notes.txt").write_text("private")
    made = push(rllib, policy)
    assert sorted(hub.files("me/toy")) == sorted([".gitattributes", "README.md", *FILES])  # and not the notes
    assert made["commit"] == hub.repos["me/toy"].branches["main"]
    assert made["address"] == f"{hub.address}/me/toy/commit/{made['commit']}"
    assert len(hub.repos["me/toy"].commits) == 2  # that of the new repository, and one for all files

    hub.put("me/toy", {"evil.pkl": b"cos\nsystem\n(S'false'\ntR."})
    answer = rllib("policy", "pull", "hf:me/toy", "-o", "deep/mine")
    assert answer.status == 0, answer.err
    head = hub.repos["me/toy"].branches["main"]
    assert head in answer.out
    assert head != made["commit"]
    assert sorted(path.name for path in Path("deep/mine").iterdir()) == sorted([*FILES, "pulled.json"])
    assert not any("evil.pkl" in request for request in hub.requests)
    recorded = json.loads(Path("deep/mine/pulled.json").read_text())
    assert (recorded["repository"], recorded["commit"], recorded["revision"]) == ("me/toy", head, None)
    assert contents("deep/mine") == contents(policy)
    assert np.array_equal(actions_of("deep/mine"), actions_of(policy))

    before, after = (json.loads(rllib("evaluate", path, *ENV, "--json").out) for path in (policy, "deep/mine"))
    assert before["returns"] == after["returns"]


def test_without_an_output_the_folder_is_named_after_the_repository(rllib, hub, make_policy):
    push(rllib, make_policy())
    assert json.loads(rllib("policy", "pull", "hf:me/toy", "--json").out)["policy"] == "toy"
    assert contents("toy")


def test_a_branch_that_moves_does_not_move_a_pinned_pull(rllib, hub, make_policy):
    first, second = make_policy("first", seed=1), make_policy("second", seed=2)
    pinned = push(rllib, first)["id"]
    assert pinned.startswith("hf:me/toy@")
    push(rllib, second)
    assert rllib("policy", "pull", pinned, "-o", "then").status == 0
    assert rllib("policy", "pull", "hf:me/toy@main", "-o", "now").status == 0
    assert contents("then") == contents(first)
    assert contents("now") == contents(second)


def test_a_branch_of_ones_own(rllib, hub, make_policy):
    first, second = make_policy("first", seed=1), make_policy("second", seed=2)
    push(rllib, first)
    made = push(rllib, second, "--revision", "wide/v2")
    assert hub.repos["me/toy"].branches["wide/v2"] == made["commit"]
    assert hub.files("me/toy")[POLICY_WEIGHTS] == contents(first)[POLICY_WEIGHTS]
    assert rllib("policy", "pull", "hf:me/toy@wide/v2", "-o", "v2").status == 0
    assert contents("v2") == contents(second)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_what_the_hub_lists_is_refused_by_name(rllib, refused, hub, make_policy, name):
    push(rllib, make_policy())
    content = bytearray(hub.files("me/toy")[name])
    content[-2] ^= 1
    hub.served_instead[name] = bytes(content)
    message = refused("policy", "pull", "hf:me/toy")
    assert f"{name} of hf:me/toy at {hub.repos['me/toy'].branches['main']}" in message
    assert "hash differs" in message


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_its_owner_changed_is_refused_by_name(rllib, refused, hub, make_policy, name):
    policy = make_policy()
    push(rllib, policy)
    content = contents(policy)[name]
    altered = content.replace(b'"act_steps": 2', b'"act_steps": 1') if name == POLICY_JSON else content[:-1] + b"\1"
    assert altered != content
    hub.put("me/toy", {name: altered})
    message = refused("policy", "pull", "hf:me/toy")
    assert message.startswith(f"rllib: {name} of hf:me/toy at ")
    assert "is not what was written" in message
    assert name in refused("evaluate", "hf:me/toy", *ENV)


def test_weights_that_fit_no_description_are_refused(rllib, refused, hub, make_policy):
    policy = make_policy()
    content = json.loads((policy / POLICY_JSON).read_text())
    content["config"]["horizon"] = 8
    del content["sha256"]
    text = json.dumps({**content, "sha256": json_digest(content)})
    hub.put("me/toy", {**contents(policy), POLICY_JSON: text.encode()})
    assert "tensor" in refused("policy", "pull", "hf:me/toy")


def test_a_damaged_cache_is_mended(rllib, hub, make_policy, tmp_path):
    policy = make_policy()
    pinned = push(rllib, policy)["id"]
    assert rllib("policy", "pull", pinned, "-o", "one").status == 0
    (cached,) = (tmp_path / "hub-cache").glob(f"models--me--toy/snapshots/*/{POLICY_WEIGHTS}")
    damaged = cached.resolve()
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\1")
    for number, source in enumerate((pinned, "hf:me/toy")):
        assert rllib("policy", "pull", source, "-o", f"again-{number}").status == 0
        assert contents(f"again-{number}") == contents(policy)


@pytest.mark.parametrize("name", FILES)
def test_sizes_are_bounded_before_anything_is_downloaded(rllib, refused, hub, make_policy, name):
    push(rllib, make_policy())
    hub.listed_sizes[name] = 1 << 50
    assert f"{name} of hf:me/toy" in refused("policy", "pull", "hf:me/toy")
    assert not any(name in request for request in hub.requests)


def test_what_is_there_is_not_overwritten(rllib, hub, make_policy):
    push(rllib, make_policy("first", seed=1))
    shutil.copytree(make_policy("second", seed=2), "mine")
    before = contents("mine")
    asked = len(hub.requests)
    answer = rllib("policy", "pull", "hf:me/toy", "-o", "mine")
    assert answer.status == 2
    assert "'mine' exists already" in answer.err
    assert contents("mine") == before
    assert len(hub.requests) == asked
    assert rllib("policy", "pull", "hf:me/toy", "-o", "mine", "--overwrite").status == 0
    assert contents("mine") != before
    assert rllib("policy", "pull", "hf:me/toy", "-o", "mine", "--overwrite").status == 0  # with its pulled.json
    Path("mine/thesis.tex").write_text("years of work")
    answer = rllib("policy", "pull", "hf:me/toy", "-o", "mine", "--overwrite")
    assert answer.status == 2
    assert "thesis.tex" in answer.err


def test_a_folder_that_cannot_be_written_is_found_before_the_download(rllib, refused, hub, make_policy, tmp_path):
    push(rllib, make_policy())
    (tmp_path / "file").write_text("")
    asked = len(hub.requests)
    assert "cannot be written" in refused("policy", "pull", "hf:me/toy", "-o", tmp_path / "file" / "deep" / "mine")
    assert len(hub.requests) == asked


@pytest.mark.parametrize(
    "source", ["hf:", "hf:me", "hf:me/toy/", "hf:me/../toy", "hf:me/toy@", "hf:me/t@a b", "me/toy"]
)
def test_a_bad_id_is_refused_by_itself(refused, hub, make_policy, source):
    assert f"'{source}'" in refused("policy", "pull", source)
    assert f"'{source}'" in refused("policy", "push", make_policy(), source)
    assert hub.requests == []


def test_faults_of_the_hub_are_one_sentence_each(rllib, refused, hub, make_policy, monkeypatch):
    policy = make_policy()
    push(rllib, policy)
    assert "there is no such repository" in refused("policy", "pull", "hf:me/toi")
    assert "it has no such revision" in refused("policy", "pull", "hf:me/toy@v7")
    assert "it has no such revision" in refused("policy", "pull", f"hf:me/toy@{'0' * 40}")
    hub.put("me/other", {"model.safetensors": b"something"})
    assert "holds no policy.json" in refused("policy", "info", "hf:me/other")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "the hub answers 401" in refused("policy", "pull", "hf:me/toy")
    assert "the hub answers 401" in refused("policy", "push", policy, "hf:me/toy")
    monkeypatch.setenv("HF_TOKEN", "hf_reads")
    assert "the hub answers 403" in refused("policy", "push", policy, "hf:me/toy")
    assert "the hub answers 403" in refused("policy", "push", policy, "hf:me/new")
    hub.repos["me/toy"].gated = True
    assert "access to it has to be asked for" in refused("policy", "pull", "hf:me/toy")


def test_a_private_repository_is_there_for_those_with_a_token(rllib, refused, hub, make_policy, monkeypatch):
    push(rllib, make_policy(), "--private")
    assert hub.repos["me/toy"].private
    monkeypatch.delenv("HF_TOKEN")
    assert "HF_TOKEN is missing for a private one" in refused("policy", "pull", "hf:me/toy")


def test_a_public_repository_does_not_become_private_in_silence(rllib, refused, hub, make_policy):
    first = push(rllib, make_policy("first", seed=1))
    message = refused("policy", "push", make_policy("second", seed=2), "hf:me/toy", "--private")
    assert "hf:me/toy exists and is public" in message
    assert hub.repos["me/toy"].branches["main"] == first["commit"]


def test_a_file_that_the_repository_ignores_is_missed(refused, hub, make_policy):
    hub.ignored.add(POLICY_JSON)
    assert f"does not hold {POLICY_JSON} as it was sent" in refused("policy", "push", make_policy(), "hf:me/toy")


def test_a_pinned_commit_needs_no_network_twice(rllib, refused, hub, make_policy, monkeypatch):
    policy = make_policy()
    pinned = push(rllib, policy)["id"]
    assert rllib("policy", "info", pinned).status == 0
    hub.server_close()
    hub.shutdown()
    assert json.loads(rllib("policy", "info", pinned, "--json").out)["weights_sha256"]
    assert "no connection to the hub" in refused("policy", "pull", "hf:me/toy")
    assert "no connection to the hub" in refused("policy", "push", policy, "hf:me/toy")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in refused("policy", "pull", "hf:me/toy")
    assert "HF_HUB_OFFLINE is set" in refused("policy", "push", policy, "hf:me/toy")
    assert rllib("policy", "pull", pinned, "-o", "kept").status == 0
    assert contents("kept") == contents(policy)


def test_a_push_is_refused_before_anything_is_sent(refused, hub, make_policy, tmp_path, monkeypatch):
    policy = make_policy()
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("this is not a video")
    cut = make_policy("cut")
    (cut / POLICY_WEIGHTS).write_bytes((cut / POLICY_WEIGHTS).read_bytes()[:-10])
    half = make_policy("half")
    (half / POLICY_WEIGHTS).unlink()

    def refusal(folder, *options, to="hf:me/toy"):
        return refused("policy", "push", folder, to, *options)

    assert "holds no policy" in refusal(tmp_path / "empty")
    assert "does not exist" in refusal(tmp_path / "nowhere")
    assert POLICY_WEIGHTS in refusal(cut)
    assert f"{POLICY_WEIGHTS} is missing" in refusal(half)
    assert "on the hub already" in refusal("hf:me/toy")
    assert "--revision BRANCH" in refusal(policy, to="hf:me/toy@v1")
    assert "no name of a branch" in refusal(policy, "--revision", "a b")
    assert "is a commit" in refusal(policy, "--revision", "0" * 40)
    assert "--license 'Apache 2'" in refusal(policy, "--license", "Apache 2")
    assert "is no MP4 video" in refusal(policy, "--video", tmp_path / "text.mp4")
    assert "is no file" in refusal(policy, "--video", tmp_path / "none.mp4")
    monkeypatch.delenv("HF_TOKEN")
    assert "set HF_TOKEN" in refusal(policy)
    assert hub.requests == []
    monkeypatch.setenv("HF_TOKEN", "hf_writes")
    assert '"license' in refusal(policy, "--license", "none-such").replace("\\", "")
    assert hub.repos == {}


def test_every_command_that_takes_a_policy_takes_one_of_the_hub(rllib, hub, make_policy):
    policy = make_policy()
    pinned = push(rllib, policy)["id"]
    for source in ("hf:me/toy", pinned):
        about = json.loads(rllib("policy", "info", source, "--json").out)
        assert about["path"].endswith(pinned.partition("@")[2])
        assert about["weights_sha256"] == json.loads(rllib("policy", "info", policy, "--json").out)["weights_sha256"]
    here, there = (json.loads(rllib("evaluate", path, *ENV, "--json").out) for path in (policy, "hf:me/toy@main"))
    assert here["returns"] == there["returns"]


def test_an_experiment_starts_from_the_commit_that_a_branch_means_when_it_begins(rllib, hub, make_policy):
    from rllib_scoreflow.experiments.identity import hash_contents, with_absolute_paths, with_pinned_policies
    from rllib_scoreflow.experiments.weights import find_policy, policy_digest

    first, second = make_policy("first", seed=1), make_policy("second", seed=2)
    pinned = push(rllib, first)["id"]
    config = {"pretrained_policy": "hf:me/toy", "lr": 1e-3, "note": "hf:me/toy"}
    found = with_pinned_policies(config)
    assert found == {**config, "pretrained_policy": pinned}
    grid = with_pinned_policies({"pretrained_policy": {"grid_search": ["hf:me/toy", str(second)]}})
    assert grid == {"pretrained_policy": {"grid_search": [pinned, str(second)]}}
    push(rllib, second)
    assert with_absolute_paths(found) == found
    assert policy_digest(find_policy(Path(found["pretrained_policy"]))) == policy_digest(first)
    # The same experiment, whether its start is named by the hub or by a folder with the same files.
    assert hash_contents({**found, "note": ""}) == hash_contents({**found, "pretrained_policy": str(first), "note": ""})


def test_a_run_that_names_a_policy_of_the_hub(refused, hub, make_policy, tmp_path):
    experiment = tmp_path / "tune.yaml"
    experiment.write_text("tune: {run: ScoreFlow, env: Pendulum-v1, weights_from: 'hf:me/toi', stop: {env_steps: 1}}\n")
    assert "cannot fetch hf:me/toi (there is no such repository" in refused("train", "file", experiment)
    experiment.write_text(experiment.read_text().replace("hf:me/toi", "hf:toi"))
    assert "'hf:toi' is no id of the hub" in refused("train", "file", experiment)


@pytest.mark.e2e
def test_the_command_itself_reads_the_clients_variables(rllib_process, hub, make_policy, monkeypatch, tmp_path):
    policy = make_policy()
    hub.put("me/toy", contents(policy))
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    answer = rllib_process("policy", "pull", "hf:me/toy", "-o", "mine")
    assert answer.status == 0, answer.err
    assert answer.err == ""
    assert contents(tmp_path / "work" / "mine") == contents(policy)
