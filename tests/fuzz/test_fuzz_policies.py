"""policy.json of any content, with right and wrong hashes, beside whole or damaged weights."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st
from safetensors.numpy import load, save

from rllib_scoreflow.files.digest import json_digest
from rllib_scoreflow.policy import FlowPolicy, read_metadata

SCHEMA_1 = Path(__file__).parents[1] / "policy" / "fixtures" / "schema-1" / "scoreflow"


@pytest.fixture(scope="module")
def weights():
    return (SCHEMA_1 / "policy.safetensors").read_bytes()


@pytest.fixture(scope="module")
def description():
    return json.loads((SCHEMA_1 / "policy.json").read_text())


def write(example, folder):
    text, weights, rehash = example
    if rehash:  # as one would who damages on purpose
        try:
            content = json.loads(text)
            content["weights_sha256"] = hashlib.sha256(weights).hexdigest()
            if content.get("schema_version") == 2:
                content["sha256"] = json_digest({key: value for key, value in content.items() if key != "sha256"})
            text = json.dumps(content).encode()
        except (ValueError, TypeError, RecursionError, AttributeError):
            pass
    (folder / "policy.json").write_bytes(text)
    (folder / "policy.safetensors").write_bytes(weights)
    return folder


def read(folder):
    read_metadata(folder)
    policy = FlowPolicy.load(folder)
    config = policy.config
    if config.sde.chain.denoising_steps <= 16 and config.image_size is None:
        actions = policy.act(np.zeros((2, config.observation_dim), np.float32))
        assert actions.shape == (2, config.chunk_dim)


@st.composite
def damaged_weights(draw, content):
    """The bytes of a safetensors file with other bytes, cut, or with other tensors."""
    kind = draw(st.sampled_from(["whole", "whole", "bytes", "cut", "header", "values", "tensors"]))
    data = bytearray(content)
    if kind == "bytes":
        for _ in range(draw(st.integers(1, 4))):
            data[draw(st.integers(0, min(3000, len(data) - 1)))] = draw(st.integers(0, 255))
    elif kind == "cut":
        del data[draw(st.integers(0, len(data))) :]
    elif kind == "header":
        data[:8] = draw(st.sampled_from([0, 1, 2**20, 2**40, 2**63, 2**64 - 1])).to_bytes(8, "little")
    elif kind in ("values", "tensors"):
        tensors = {name: value.copy() for name, value in load(content).items()}
        name = draw(st.sampled_from(sorted(tensors)))
        if kind == "values":
            tensors[name].reshape(-1)[:1] = draw(st.sampled_from([np.nan, np.inf, 1e38, -1e38, 0.0]))
        else:
            other = draw(st.sampled_from([np.float64, np.int32, np.float16, np.bool_]))
            tensors[name] = draw(st.sampled_from([tensors[name].astype(other), tensors[name].reshape(-1)[:1]]))
        data = bytearray(save(tensors))
    return bytes(data)


def test_policies(fuzz, damage, description, weights):
    whole = st.just(json.dumps(description).encode())
    second = {**description, "schema_version": 2, "sha256": ""}
    texts = st.one_of(whole, damage(description), damage(second))
    fuzz(st.tuples(texts, damaged_weights(weights), st.booleans()), write, read)
