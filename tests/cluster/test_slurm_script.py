"""The Slurm script: its syntax, its refusals, and (slow) a whole run where Slurm's own commands are stood in for."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ray.scripts.scripts import start

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "cluster" / "slurm.sh"
SHELLCHECK = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
TINY = """
tiny:
  run: FlowBC
  env: Hopper-v4
  stop: {training_iteration: 1}
  config: {dataset: hopper-small, velocity: {hidden_dim: 16}, denoising_steps: 2, train_batch_size_per_learner: 4096}
"""
# One task per step, on this machine, is what the script asks Slurm for.
SRUN = '#!/bin/bash\nwhile [[ $1 == --* ]]; do shift; done\n[[ $1 == hostname ]] && exec echo 127.0.0.1\nexec "$@"\n'
SCONTROL = "#!/bin/bash\nprintf 'node1\\nnode2\\n'\n"


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "RAY_"))}
    return subprocess.run(
        list(map(str, command)), env=clean | environment, capture_output=True, text=True, timeout=280, check=False
    )


def test_bash_can_read_it(tmp_path: Path) -> None:
    assert run("bash", "-n", SCRIPT).returncode == 0
    broken = tmp_path / "broken.sh"
    broken.write_text(SCRIPT.read_text().replace("\ndone\n", "\n", 1))
    assert run("bash", "-n", broken).returncode != 0


@pytest.mark.skipif(SHELLCHECK is None, reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_say(tmp_path: Path) -> None:
    found = run(str(SHELLCHECK), SCRIPT)
    assert found.returncode == 0, found.stdout
    broken = tmp_path / "broken.sh"
    broken.write_text(SCRIPT.read_text().replace('train file "$@"', "train file $@"))
    assert "SC2068" in run(str(SHELLCHECK), broken).stdout


def test_directives_stand_before_the_first_command() -> None:
    lines = SCRIPT.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    directives = [number for number, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert directives
    assert max(directives) < first, "Slurm stops reading directives there"


def test_options_of_ray_start_exist_and_no_dashboard_is_opened() -> None:
    text = SCRIPT.read_text().replace("\\\n", " ")
    arrays = dict(re.findall(r"^(\w+_options)=\((.*)\)$", text, re.MULTILINE))
    commands = re.findall(r"ray start (.+?) &$", text, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        words = re.sub(r'"\$\{(\w+)\[@\]\}"', lambda match: arrays[match[1]], command)
        words = words.replace("$port", "1").replace("$((port + 10000))", "1").replace("$SRUN_CPUS_PER_TASK", "1")
        options = start.make_context("start", words.replace('"', "").split(), resilient_parsing=False).params
        assert options["block"]
        if options["head"]:
            assert (options["include_dashboard"], options["dashboard_host"]) == (False, "127.0.0.1")


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [((), {}, "usage: sbatch"), (("hopper.yaml",), {}, "run this with sbatch")],
)
def test_refusals(arguments: tuple[str, ...], environment: dict[str, str], message: str) -> None:
    answer = run(SCRIPT, *arguments, **environment)
    assert answer.returncode != 0
    assert message in answer.stderr


@pytest.mark.slow
@pytest.mark.e2e
def test_whole_job_on_two_nodes_leaves_results_and_no_token(tmp_path: Path) -> None:
    commands, environment, tokens = tmp_path / "bin", tmp_path / "venv" / "bin", tmp_path / "tokens"
    commands.mkdir()
    environment.mkdir(parents=True)
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    (environment / "activate").write_text(f'export PATH="{commands}:{Path(sys.executable).parent}:$PATH"\n')
    (tmp_path / "tiny.yaml").write_text(TINY)
    job = str(os.getpid())
    slurm = {"SLURM_JOB_ID": job, "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_CPUS_PER_TASK": "2", "USER": "test"}
    folders = {"VENV": str(environment.parent), "TOKEN_FOLDER": str(tokens), "PYTHONPATH": str(ROOT)}
    try:
        answer = run(SCRIPT, tmp_path / "tiny.yaml", "--results-dir", tmp_path / "results", **slurm, **folders)
    finally:
        shutil.rmtree(f"/tmp/ray-test-{job}", ignore_errors=True)
    assert answer.returncode == 0, answer.stderr
    assert "Ray runs on 2 nodes" in answer.stdout
    assert (tmp_path / "results" / "tiny" / "tiny" / "policy" / "policy.json").is_file()
    assert list(tokens.iterdir()) == []
