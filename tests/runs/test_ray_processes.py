"""What the command uses of Ray's own processes is as it was in Ray 2.60."""

import inspect
import os
import signal
import sys
import time

import pytest
from ray._private import node, services

from rllib_scoreflow.runs import ray_adapter
from rllib_scoreflow.runs.session import Interrupt, watching_ray


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


def test_the_driver_knows_its_node():
    assert hasattr(ray_adapter.worker, "_global_node")


@pytest.mark.parametrize("numbers", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)])
def test_a_signal_that_comes_twice_at_once_was_meant_once(numbers, capfd):
    interrupt = Interrupt()
    with interrupt.watching():
        for number in numbers:
            signal.raise_signal(number)  # to end at once would raise KeyboardInterrupt here
        assert interrupt.asked.is_set()
        assert capfd.readouterr().err.count("Stopping after this iteration") == 1
        time.sleep(1.1)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(numbers[-1])


def test_a_loss_is_told_once_and_only_while_it_is_watched(monkeypatch):
    found, told = iter([None, "raylet", None, "raylet", "raylet"]), []
    monkeypatch.setattr(ray_adapter, "lost_process", lambda: next(found))
    monkeypatch.setattr("rllib_scoreflow.runs.session._WATCH_S", 0.01)
    with watching_ray(told.append):
        deadline = time.monotonic() + 10
        while not told and time.monotonic() < deadline:
            time.sleep(0.01)
    assert told == ["raylet"]
    assert next(found, "asked five times") == "asked five times"
