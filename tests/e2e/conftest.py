"""A Ray cluster of two nodes on this machine, every process of which can be killed."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class Node:
    """One `ray start --block`, with all that it has started."""

    process: subprocess.Popen

    def processes(self, name: str) -> list[psutil.Process]:
        """Living processes of this node whose command line begins with `name`."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                line = child.cmdline()
            except psutil.Error:
                continue
            if line and Path(line[0]).name.startswith(name):
                found.append(child)
        return found

    def stop(self) -> None:
        try:
            family = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            family = []
        for member in [*family, psutil.Process(self.process.pid)] if self.process.poll() is None else family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        self.process.wait(timeout=30)


@dataclass
class TwoNodes:
    """A head with a dashboard on loopback, and a second node.

    Each has `rollout: 1`, a resource that an EnvRunner can ask for to be placed on a node of its own.
    """

    folder: Path
    head_cpus: int
    second_cpus: int
    nodes: list[Node] = field(default_factory=list)

    def __enter__(self) -> "TwoNodes":
        self.port, self.dashboard_port = free_port(), free_port()
        own = {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "OMP_NUM_THREADS": "1",
            # What a lost node costs at least: until it is missed.
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_failure_threshold": "3",
        }
        self.environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | own
        head = [f"--port={self.port}", "--head", "--include-dashboard=true", "--dashboard-host=127.0.0.1"]
        head += [f"--dashboard-port={self.dashboard_port}", f"--num-cpus={self.head_cpus}"]
        try:
            self._start("head", *head)
            self._await_nodes(1)
            self._start("second", f"--address=127.0.0.1:{self.port}", f"--num-cpus={self.second_cpus}")
            self._await_nodes(2)
            self._await_jobs()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in reversed(self.nodes):
            node.stop()

    def job(self, *words: object, cwd: Path) -> subprocess.Popen:
        """`ray job submit -- WORDS`, which prints the job's output and ends as it ends."""
        command = [BIN / "ray", "job", "submit", f"--address=http://127.0.0.1:{self.dashboard_port}", "--", *words]
        return subprocess.Popen(
            list(map(str, command)), cwd=cwd, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip

    def _start(self, name: str, *options: str) -> None:
        # Short: the path of a socket may have about a hundred characters.
        words = [str(BIN / "ray"), "start", "--block", '--resources={"rollout": 1}', "--disable-usage-stats", *options]
        # Two nodes on one machine, and perhaps another Ray beside them: no port may be the default.
        words += [f"--{kind}={free_port()}" for kind in ("dashboard-agent-listen-port", "dashboard-agent-grpc-port")]
        words += [f"--metrics-export-port={free_port()}", f"--runtime-env-agent-port={free_port()}"]
        if "--head" in options:
            words.append(f"--temp-dir={self.folder}")
        log = (self.folder.parent / f"{self.folder.name}-{name}.log").open("w")
        process = subprocess.Popen(
            words, env=self.environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        self.nodes.append(Node(process))

    def _await_jobs(self) -> None:
        """Until the head takes jobs: its agent is up some time after the head itself."""
        deadline = time.monotonic() + 120
        while True:
            job = self.job("true", cwd=self.folder)
            said, _ = job.communicate(timeout=120)
            if job.returncode == 0:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"the cluster takes no jobs:\n{said}")
            time.sleep(1.0)

    def _await_nodes(self, number: int) -> None:
        words = [str(BIN / "ray"), "status", f"--address=127.0.0.1:{self.port}"]
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            status = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False)
            if status.stdout.count(" node_") >= number:
                return
            time.sleep(0.5)
        raise RuntimeError(f"no cluster of {number} node(s) after 90 s:\n{status.stdout}\n{status.stderr}")


@pytest.fixture
def two_nodes() -> type[TwoNodes]:
    """The cluster's class, which is entered as a context."""
    return TwoNodes
