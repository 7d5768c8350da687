"""What the command says fits any terminal, and what the file system refuses is one sentence."""

import errno
import io
import json
import os
import signal
import subprocess
import sys

import pytest
from rich.table import Table

from rllib_scoreflow.cli import main
from rllib_scoreflow.errors import InputError
from rllib_scoreflow.files.user_paths import ensure_home
from rllib_scoreflow.runs.failures import file_system_sentence
from rllib_scoreflow.terminal import new_console, one_line

PPO = "{run: PPO, env: CartPole-v1, stop: {training_iteration: 1}}"


def in_ascii(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LANG": "C", "PYTHONIOENCODING": "ascii"}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_an_ascii_terminal_gets_what_it_can_show():
    code = (
        "from rllib_scoreflow.terminal import adapt_streams, new_console\n"
        "from rllib_scoreflow.runs.progress import iteration_line\n"
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


NOBODY = """
mount --bind /dev/null /etc/passwd && echo passwd: files > {folder}/nsswitch.conf || exit 99
mount --bind {folder}/nsswitch.conf /etc/nsswitch.conf || exit 99
unset HOME USER LOGNAME RLLIB_SCOREFLOW_CACHE
export TMPDIR={folder}
exec {python} -c "
import sys
from rllib_scoreflow.cli.main import run
status = run(['dataset', 'info', 'hopper-small', '--json'])
import ray.tune
sys.exit(status)"
"""


def test_the_command_works_without_a_home_and_an_entry_in_the_password_file(tmp_path):
    script = NOBODY.format(folder=tmp_path, python=sys.executable)
    try:
        answer = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare")
    if answer.returncode == 99 or "unshare" in answer.stderr:
        pytest.skip("this user may not mount anything")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["name"] == "hopper-small"
    (home,) = tmp_path.glob("rllib_scoreflow-*")
    assert home.stat().st_mode & 0o077 == 0


def test_a_planted_home_is_refused(tmp_path, monkeypatch):
    def nobody(uid):
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", "before")
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("USER", "before")
    ensure_home()
    assert os.environ["HOME"] == f"{tmp_path}/rllib_scoreflow-{os.getuid()}"
    monkeypatch.delenv("HOME")
    (tmp_path / f"rllib_scoreflow-{os.getuid()}").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"rllib_scoreflow-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="set HOME"):
        ensure_home()


def test_a_reader_that_has_gone_is_no_fault():
    """As in `rllib ... | head`."""
    code = "import sys; from rllib_scoreflow.cli.main import run; sys.exit(run(['--help']))"
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, text=True) as process:
        os.close(writing)
        _, said = process.communicate()
    assert (process.returncode, said) == (128 + signal.SIGPIPE, "")
