"""What the command says fits any terminal, and what the file system refuses is one sentence."""

import errno
import io
import os
import subprocess
import sys

import pytest
from rich.table import Table

from rllib_scoreflow.cli import main
from rllib_scoreflow.cli.failures import file_system_sentence
from rllib_scoreflow.cli.terminal import new_console, one_line

PPO = "{run: PPO, env: CartPole-v1, stop: {training_iteration: 1}}"


def in_ascii(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LANG": "C", "PYTHONIOENCODING": "ascii"}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_an_ascii_terminal_gets_what_it_can_show():
    code = (
        "from rllib_scoreflow.cli.terminal import adapt_streams, new_console\n"
        "from rllib_scoreflow.cli.progress import iteration_line\n"
        "adapt_streams()\n"
        "line = iteration_line({'training_iteration': 1, 'return_mean': 1.0, 'return_stderr': 0.5}, None, None)\n"
        "new_console().print(line)\n"
        "print('caf\\u00e9 \\udcff')\n"
    )
    answer = in_ascii(code)
    assert answer.returncode == 0, answer.stderr
    assert "+- 0.50" in answer.stdout
    assert "caf\\xe9 \\udcff" in answer.stdout


def test_messages_of_the_command_reach_an_ascii_terminal():
    code = "from rllib_scoreflow.cli.main import run; raise SystemExit(run(['evaluate', 'caf\\u00e9']))"
    answer = in_ascii(code)
    assert answer.returncode == 2
    assert answer.stderr.startswith("rllib: caf\\xe9 does not exist")


def test_names_are_printed_as_they_are():
    out = io.StringIO()
    table = Table(title="[bold]t[/]")
    table.add_column("[x]")
    table.add_row("results/[/nothing]/:smile:")
    console = new_console(file=out, width=80)
    console.print(table)
    console.print("[red]x :smile:")
    assert "[bold]t[/]" in out.getvalue()
    assert "results/[/nothing]/:smile:" in out.getvalue()
    assert "[red]x :smile:" in out.getvalue()


def test_a_message_is_one_line_without_control_characters():
    assert one_line("a\nb\x1b[31m\udcff") == "a b\\x1b[31m\\udcff"
    assert len(one_line("x" * 10_000)) < 2100


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--results-dir", "~nosuchuser/x"), "there is no user 'nosuchuser'"),
        (("--results-dir", "/proc/nowhere"), "nothing can be written in /proc"),
        (("--results-dir", "x" * 300), "choose a shorter one"),
        (("--results-dir", "{file}"), "it is a file"),
    ],
)
def test_results_folders_that_cannot_be_made(refused, tmp_path, words, expected):
    file = tmp_path / "exp.yaml"
    file.write_text(f"cart: {PPO}")
    sentence = refused("train", "file", file, *[word.format(file=file) for word in words])
    assert expected in sentence


@pytest.mark.parametrize(
    "words",
    [
        ("train", "file", "~nosuchuser/a.yaml"),
        ("evaluate", "~nosuchuser/a"),
        ("evaluate", ".", "--video", "~nosuchuser/a.mp4"),
        ("evaluate", ".", "--sweep", "--plot", "~nosuchuser/a.png"),
        ("policy", "info", "~nosuchuser/a"),
        ("policy", "export", ".", "--output", "~nosuchuser/a.onnx"),
        ("dataset", "info", "~nosuchuser/a.hdf5"),
        ("dataset", "convert", "hopper-small", "~nosuchuser/a.parquet"),
        ("report", "~nosuchuser/a"),
        ("sweep", "report", "~nosuchuser/a"),
        ("demo", "--file", "~nosuchuser/a"),
    ],
)
def test_the_home_of_nobody(refused, words):
    assert "there is no user 'nosuchuser'" in refused(*words)


def test_an_argument_that_is_no_text(refused):
    assert "is not UTF-8 text" in refused("evaluate", "bad\udcff")


def test_errors_of_the_file_system_are_one_sentence(monkeypatch, rllib):
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "results/result.json")

    monkeypatch.setattr(main, "app", full)
    answer = rllib("version")
    assert answer.status == 2
    assert answer.err.startswith("rllib: results/result.json: no space left on device; make room there")
    assert file_system_sentence(OSError("of a socket")) is None
