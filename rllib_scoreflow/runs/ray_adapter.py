"""Everything of the command that leans on internals of Ray's processes, written for Ray 2.60.

`tests/runs/test_ray_processes.py` fails loudly if Ray changes them.
"""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

from ray._private import services, worker

_NEEDED = ("raylet", "gcs_server")  # without either nothing goes on, and what waits for it waits for ever


@contextlib.contextmanager
def sessions_of_their_own() -> Iterator[None]:
    """Let the processes that Ray starts within this block be no part of the command's process group.

    `timeout` and others send SIGTERM to the whole group; Ray would be gone before the trial has written its checkpoint.
    Ray's processes end with the command all the same, however that ends.
    """
    usual = services.ConsolePopen

    class Apart(usual):  # type: ignore[misc, valid-type, unused-ignore]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "start_new_session": True})

    services.ConsolePopen = Apart
    try:
        yield
    finally:
        services.ConsolePopen = usual


def lost_process() -> str | None:
    """The name of a process that Ray needs and that has died, or None."""
    node = worker._global_node
    if node is None:
        return None
    if not node.all_processes:  # a cluster that somebody else has started
        return None if _answers(node.raylet_socket_name) else "raylet"
    return next((kind for kind, _ in node.dead_processes() if kind in _NEEDED), None)


def kill_own_processes() -> None:
    """End what this command's Ray consists of at once; nothing where it has joined another's.

    They were started in sessions of their own, so that each is the head of a group with those that it has started.
    """
    node = worker._global_node
    for infos in [] if node is None else node.all_processes.values():
        for info in infos:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(info.process.pid, signal.SIGKILL)


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(5.0)
        try:
            one.connect(path)
        except TimeoutError:
            return True  # busy, not dead
        except OSError:
            return False
    return True
