"""The example that serves a policy, as a process of its own, under load."""

import asyncio
import os
import runpy
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import numpy as np
import pytest
import requests
import torch

from rllib_scoreflow.flow.config import SDEConfig, VelocityConfig, apply_variant
from rllib_scoreflow.policy import FlowPolicy, PolicyConfig

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(280)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "serve_policy.py"
STATE_DIM, ACTION_DIM, HORIZON = 3, 2, 4
REQUESTS, MAX_BATCH = 300, 32


@pytest.fixture(scope="module")
def policy() -> FlowPolicy:
    torch.manual_seed(0)
    score, noise = apply_variant("scoreflow")
    sde = SDEConfig(velocity=VelocityConfig(hidden_dim=32), score=score, noise=noise)
    bound = np.full(STATE_DIM, 2, np.float32)
    return FlowPolicy(
        PolicyConfig(observation_dim=STATE_DIM, action_dim=ACTION_DIM, horizon=HORIZON, act_steps=3, sde=sde),
        observation_low=-bound,
        observation_high=bound,
        action_low=np.array([-1, 0], np.float32),
        action_high=np.array([1, 10], np.float32),
    )


@pytest.fixture(scope="module")
def server(policy: FlowPolicy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running example."""
    folder = tmp_path_factory.mktemp("served")
    policy.save(folder / "policy")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [sys.executable, EXAMPLE, folder, "--port", port, "--max-batch-size", MAX_BATCH, "--batch-wait-ms", 100]
    words += ["--max-body-mb", 0.1]
    log = (folder / "log").open("w+")
    process = subprocess.Popen(
        [str(word) for word in words],
        stdout=log,
        stderr=log,
        env={**os.environ, "RAY_ADDRESS": "local"},
    )
    address = f"http://127.0.0.1:{port}/"
    try:
        while not answers(address):
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait(60)
        log.close()


def answers(address: str) -> bool:
    try:
        return requests.post(address, json={"state": [0] * STATE_DIM}, timeout=30).ok
    except requests.ConnectionError:
        return False


async def ask(address: str, questions: list[dict]) -> list[dict]:
    """Ask everything at once, each question on a connection of its own."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(question: dict) -> dict:
            async with session.post(address, json=question) as response:
                assert response.status == 200, await response.text()
                return await response.json()

        return await asyncio.gather(*map(one, questions))


def test_concurrent_requests_are_batched_and_each_gets_its_own_answer(server: str, policy: FlowPolicy) -> None:
    states = np.random.default_rng(0).uniform(-2, 2, (REQUESTS, STATE_DIM)).astype(np.float32)
    # The first request of a seed must not change what the second one gets.
    questions = [{"state": state.tolist(), "seed": number // 2} for number, state in enumerate(states)]
    found = asyncio.run(ask(server, questions))
    expected = [
        policy.act(state, generator=torch.Generator().manual_seed(number // 2)).reshape(HORIZON, ACTION_DIM)
        for number, state in enumerate(states)
    ]
    actions = np.array([answer["actions"] for answer in found])
    assert actions.shape == (REQUESTS, HORIZON, ACTION_DIM)
    np.testing.assert_allclose(actions, np.array(expected), atol=1e-4, rtol=0)
    assert np.ptp(actions, axis=0).min() > 0.1  # the answers differ, so none is another's
    assert {answer["act_steps"] for answer in found} == {3}

    sizes = np.array([answer["batch_size"] for answer in found])
    assert sizes.max() <= MAX_BATCH
    assert sizes.max() >= MAX_BATCH / 2
    # A batch of n answers n requests, so this counts passes of the network.
    assert round((1 / sizes).sum()) <= REQUESTS / 4, np.unique(sizes, return_counts=True)


def test_without_a_seed_answers_differ(server: str) -> None:
    first, second = asyncio.run(ask(server, [{"state": [0.0] * STATE_DIM}] * 2))
    assert first["actions"] != second["actions"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"state": [1, 2]}', "'state' has shape [2], this policy needs [3]"),
        (b'{"state": [[1], [2, 3]]}', "'state' must be numbers in lists of shape [3]"),
        (b'{"state": [1, 2, NaN]}', "'state' holds a number that is not finite"),
        (b'{"state": [1, 2, "3"]}', "'state' must be numbers in lists of shape [3]"),
        (b'{"state": [1, 2, 3], "images": []}', "the request must be an object with 'state', and 'seed' if you like"),
        (b'{"state": [1, 2, 3], "seed": -1}', "'seed' must be a whole number from 0 to 2^63 - 1"),
        (b"[1, 2, 3]", "the request must be an object with 'state', and 'seed' if you like"),
        (b"state", "the request is not JSON; send an object with 'state'"),
    ],
)
def test_a_wrong_request_gets_status_400_and_one_sentence(server: str, body: bytes, message: str) -> None:
    response = requests.post(server, data=body, timeout=30)
    assert (response.status_code, response.json()) == (400, {"error": message})


@pytest.mark.parametrize("chunked", [False, True], ids=["length told", "in chunks"])
def test_a_request_that_is_too_large_is_refused(server: str, chunked: bool) -> None:
    body = b" " * 5_000_000 + b'{"state": [1, 2, 3]}'
    data = (body[at : at + 65536] for at in range(0, len(body), 65536)) if chunked else body
    response = requests.post(server, data=data, timeout=30)
    assert response.status_code == 413
    assert response.json() == {"error": "the request has more than 100000 bytes; send one observation"}
    assert answers(server)


def test_images_are_read_as_bytes_and_refused_otherwise() -> None:
    read_question = runpy.run_path(str(EXAMPLE))["read_question"]
    config = PolicyConfig(observation_dim=1, action_dim=1, cameras=("front",), image_size=(1, 2))
    observation, noise = read_question(b'{"state": [2], "images": [[[[0, 1, 2], [3, 4, 255]]]], "seed": 3}', config)
    assert observation["images"].dtype == np.uint8
    assert observation["images"].tolist() == [[[[0, 1, 2], [3, 4, 255]]]]
    assert torch.equal(noise, torch.randn(1, 4, generator=torch.Generator().manual_seed(3))[0])
    for wrong in ("[[[[0, 1, 2], [3, 4, 256]]]]", "[[[[0, 1, 2], [3, 4, 5.5]]]]", "[[[[0, 1, 2], [3, 4, -1]]]]"):
        with pytest.raises(ValueError, match=r"'images' must be whole numbers from 0 to 255 in lists of shape \["):
            read_question(f'{{"state": [2], "images": {wrong}}}'.encode(), config)


def test_a_folder_without_a_policy_is_refused_before_ray_starts(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, EXAMPLE, tmp_path], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 2
    assert "holds no policy" in ended.stderr


def test_a_damaged_policy_is_refused_before_ray_starts(policy: FlowPolicy, tmp_path: Path) -> None:
    weights = policy.save(tmp_path / "policy") / "policy.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    ended = subprocess.run([sys.executable, EXAMPLE, tmp_path], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "truncated or altered" in ended.stderr


def test_only_this_machine_is_listened_to(server: str) -> None:
    port = int(server.rstrip("/").rsplit(":", 1)[1])
    # An address of 127.0.0.0/8 other than 127.0.0.1 is reached only by a server that listens on all of them.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=5)
