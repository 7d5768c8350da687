"""Running the command: within this process for mistakes, as a process of its own for training."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

LOGGERS = ("ray", "ray.rllib", "ray.tune", "ray.train", "ray.data")


@dataclass(frozen=True)
class Answer:
    """What a command answered."""

    status: int
    out: str
    err: str


@pytest.fixture
def rllib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Answer]]:
    """Run the command in this process, in an empty working folder; for commands that never start Ray."""
    from rllib_scoreflow.cli.main import run  # here, since most rooms' tests need no command

    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    monkeypatch.chdir(work)
    environment = dict(os.environ)
    levels = {name: logging.getLogger(name).level for name in LOGGERS}

    def command(*arguments: object) -> Answer:
        capsys.readouterr()
        status = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(status, captured.out, captured.err)

    yield command
    os.environ.clear()
    os.environ.update(environment)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def refused(rllib: Callable[..., Answer]) -> Callable[..., str]:
    """Run a command that must be refused: status 2, one sentence on stderr, nothing written. Returns the sentence."""

    def command(*arguments: object) -> str:
        answer = rllib(*arguments)
        assert answer.status == 2, answer
        assert answer.out == ""
        assert answer.err.startswith("rllib: ")
        assert answer.err.count("\n") == 1, answer.err
        assert "Traceback" not in answer.err
        assert list(Path.cwd().iterdir()) == []
        return answer.err

    return command


@pytest.fixture
def rllib_process(tmp_path: Path) -> Callable[..., Answer]:
    """Run the command as a process of its own to its end, in the same working folder."""
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)

    def command(*arguments: object) -> Answer:
        words = [sys.executable, "-u", "-m", "rllib_scoreflow.cli", *map(str, arguments)]
        ended = subprocess.run(words, cwd=work, capture_output=True, text=True, timeout=240, check=False)
        return Answer(ended.returncode, ended.stdout, ended.stderr)

    return command
