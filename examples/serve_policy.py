"""Serves a policy over HTTP with Ray Serve: one observation in, one chunk of actions out.

    pip install 'rllib-scoreflow[serve]'
    python examples/serve_policy.py results/hopper/hopper-finetune --replicas 2

and from another terminal (Hopper observes 11 numbers):

    curl -s localhost:8000 -d '{"state": [1.25, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "seed": 1}'

    {"actions": [[0.31, -0.18, 0.95], ...], "act_steps": 4, "batch_size": 1}

`state` is the raw observation; a policy with cameras also needs `images`, lists of uint8 `[V, H, W, 3]`. The chunk is
`[horizon][action_dim]`, in raw units; a robot executes its first `act_steps` steps and then asks again. The chain
starts from noise: the same `seed` (0 to 2^63 - 1) gives the same actions, without one they differ from call to call
(with `chain: {start: zero}`, or a learned start, they are always the same).
Requests that arrive together are answered by one pass of the network; `batch_size` says how many they were. A request
of more than --max-body-mb (default 16) is refused with status 413.

Only this machine can ask unless --host is given. There is no password: put a proxy that asks for one in front first.
"""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tree
import typer
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.observations import IMAGES, STATE
from rllib_scoreflow.policy import FlowPolicy, PolicyConfig, find_policy

Question = tuple[Any, torch.Tensor]  # an observation, and the noise that its chain starts from
Answer = tuple[np.ndarray, int]  # the chunk, and how many questions were answered with it


@serve.deployment
class PolicyServer:
    """Answers observations with action chunks; every replica holds the policy once."""

    def __init__(self, folder: str, max_batch_size: int, batch_wait_ms: float, max_body_bytes: int) -> None:
        """Loads the policy artefact at `folder`."""
        torch.set_num_threads(1)  # a replica has one CPU
        self.policy = FlowPolicy.load(folder)
        self.max_body_bytes = max_body_bytes
        self.act.set_max_batch_size(max_batch_size)
        self.act.set_batch_wait_timeout_s(batch_wait_ms / 1000)

    async def __call__(self, request: Request) -> Response:
        """Answers one HTTP request; what cannot be understood gets status 400 or 413 and one sentence."""
        body = await read_body(request, self.max_body_bytes)
        if body is None:
            error = f"the request has more than {self.max_body_bytes} bytes; send one observation"
            return JSONResponse({"error": error}, status_code=413)
        try:
            question = read_question(body, self.policy.config)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        chunk, batch_size = await self.act(question)
        act_steps = self.policy.config.act_steps
        return JSONResponse({"actions": chunk.tolist(), "act_steps": act_steps, "batch_size": batch_size})

    @serve.batch
    async def act(self, questions: list[Question]) -> list[Answer]:
        """Answers the questions that Serve collected, all in one pass."""
        observations, noise = zip(*questions, strict=True)
        batch = tree.map_structure(lambda *rows: np.stack(rows), *observations)
        # In a thread, so that meanwhile the next questions are received.
        drawn = self.policy.config.sde.chain.start == "normal"
        initial = torch.stack(noise).numpy() if drawn else None
        chunks = await asyncio.to_thread(self.policy.act, batch, initial=initial)
        shape = (self.policy.config.horizon, self.policy.config.action_dim)
        return [(chunk.reshape(shape), len(questions)) for chunk in chunks]


async def read_body(request: Request, most: int) -> bytes | None:
    """The body of a request, None as soon as it has more than `most` bytes, or says so."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > most:
        return None
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            return None
    return bytes(body)


def read_question(body: bytes, config: PolicyConfig) -> Question:
    """Reads the JSON of a request.

    Raises:
        ValueError: If it does not fit the policy; the message is one sentence.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError("the request is not JSON; send an object with 'state'") from error
    needed = {STATE: (config.observation_dim,)} | ({IMAGES: config.image_shape} if config.image_shape else {})
    if not isinstance(content, dict) or content.keys() - {"seed"} != needed.keys():
        raise ValueError(
            f"the request must be an object with {' and '.join(map(repr, needed))}, and 'seed' if you like"
        )
    observation = {name: _read_array(name, content[name], shape) for name, shape in needed.items()}
    seed = content.get("seed")
    generator = None
    if seed is not None:
        if type(seed) is not int or not 0 <= seed < 2**63:
            raise ValueError("'seed' must be a whole number from 0 to 2^63 - 1")
        generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(config.chunk_dim, generator=generator)
    return (observation if config.cameras else observation[STATE]), noise


def _read_array(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    kinds, what = ("iuf", "numbers") if name == STATE else ("iu", "whole numbers from 0 to 255")
    try:
        array = np.asarray(value)
    except ValueError:  # lists of unequal length
        array = np.asarray(None)
    fits = array.dtype.kind in kinds and (name == STATE or 0 <= array.min(initial=0) <= array.max(initial=0) <= 255)
    if not fits:
        raise ValueError(f"'{name}' must be {what} in lists of shape {list(shape)}")
    if array.shape != shape:
        raise ValueError(f"'{name}' has shape {list(array.shape)}, this policy needs {list(shape)}")
    if not (np.abs(array) <= np.finfo(np.float32).max).all():  # NaN is not either
        raise ValueError(f"'{name}' holds a number that is not finite")
    return array.astype(np.float32 if name == STATE else np.uint8)


def main(
    policy: Annotated[
        Path,
        typer.Argument(help="A policy folder, an experiment's folder or checkpoint with one, or hf:ORG/NAME[@COMMIT]."),
    ],
    *,
    replicas: Annotated[int, typer.Option(help="Processes that answer, of one CPU each.", min=1)] = 1,
    max_batch_size: Annotated[int, typer.Option(help="Most requests answered in one pass.", min=1)] = 64,
    batch_wait_ms: Annotated[float, typer.Option(help="How long the first request of a batch waits.", min=0.0)] = 5.0,
    max_body_mb: Annotated[float, typer.Option(help="Largest request that is read.", min=0.001)] = 16.0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8000,
) -> None:
    """Serve a policy until Ctrl-C."""
    try:
        folder = find_policy(policy)
        if folder is None:
            raise InputError(f"{policy} holds no policy; give the `policy` folder that training exports.")
        FlowPolicy.load(folder)
    except InputError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    serve.start(http_options={"host": host, "port": port})
    # Serve hands a replica no more requests than this at once, and a batch is made of what is there.
    options = {"num_replicas": replicas, "max_ongoing_requests": 2 * max_batch_size}
    settings = (max_batch_size, batch_wait_ms, int(1e6 * max_body_mb))
    application = PolicyServer.options(**options).bind(str(folder.resolve()), *settings)
    serve.run(application, blocking=True, logging_config={"enable_access_log": False})


if __name__ == "__main__":
    typer.run(main)
