"""What the command uses of Ray's own processes is as it was in Ray 2.60."""

import inspect
import os
import sys

import pytest
from ray._private import node, services

from rllib_scoreflow.cli import ray_adapter


def test_processes_are_started_in_sessions_of_their_own():
    usual = services.ConsolePopen
    with ray_adapter.sessions_of_their_own():
        info = services.start_ray_process([sys.executable, "-c", "input()"], "raylet", fate_share=True, pipe_stdin=True)
    assert services.ConsolePopen is usual
    assert os.getsid(info.process.pid) == info.process.pid != os.getsid(0)
    info.process.kill()
    info.process.wait()


def test_a_dead_process_is_told_by_the_node_that_started_it(monkeypatch):
    class Own(node.Node):
        def __init__(self) -> None:
            self.all_processes = {}

    own = Own()
    monkeypatch.setattr(ray_adapter.worker, "_global_node", own)
    with ray_adapter.sessions_of_their_own():
        process = services.start_ray_process(
            [sys.executable, "-c", "input()"], "raylet", fate_share=True, pipe_stdin=True
        )
    own.all_processes["raylet"] = [process]
    assert ray_adapter.lost_process() is None
    ray_adapter.kill_own_processes()
    process.process.wait(timeout=10)
    assert ray_adapter.lost_process() == "raylet"
    monkeypatch.setattr(ray_adapter.worker, "_global_node", None)
    assert ray_adapter.lost_process() is None


def test_a_cluster_of_others_is_asked_by_its_socket(monkeypatch, tmp_path):
    import socket

    class Joined(node.Node):
        def __init__(self, path: str) -> None:
            self.all_processes = {}
            self._raylet_socket_name = path

    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("raylet")
        listener.listen()
        monkeypatch.setattr(ray_adapter.worker, "_global_node", Joined("raylet"))
        assert ray_adapter.lost_process() is None
    assert ray_adapter.lost_process() == "raylet"


def test_an_own_ray_has_both_processes_that_are_needed():
    source = inspect.getsource(node.Node)
    assert "PROCESS_TYPE_RAYLET" in source
    names = {services.ray_constants.PROCESS_TYPE_RAYLET, services.ray_constants.PROCESS_TYPE_GCS_SERVER}
    assert names == {"raylet", "gcs_server"}


@pytest.mark.parametrize("name", ["_global_node"])
def test_the_driver_knows_its_node(name):
    assert hasattr(ray_adapter.worker, name)
