"""The site is built, and what its pages tell to type is typed: the tutorials whole, the guide on a small run."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.code_blocks import PAGES, ROOT, blocks_of

TUTORIALS = [page for page in PAGES if page.startswith("docs/tutorials/")]
# Their lines are of the run results/hopper, which is made here in seconds.
GUIDE = ["README.md", "docs/quick-start.md", "docs/compare.md", "docs/reports.md", "docs/deploy.md"]
SMALL = {
    "hopper-pretrain.config.dataset": "hopper-small",
    "hopper-pretrain.config.velocity": "{hidden_dim: 32}",
    "hopper-pretrain.stop": "{training_iteration: 1}",
    "hopper-finetune.config.num_env_runners": "0",
    "hopper-finetune.config.num_envs_per_env_runner": "4",
    "hopper-finetune.config.rollout_fragment_length": "20",
    "hopper-finetune.config.evaluation_interval": "0",
    "hopper-finetune.stop": "{training_iteration: 1}",
}


def run(command: str, folder: Path) -> str:
    """Types a line, with the command and the interpreter that the tests run in; it must end well."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        ["bash", "-ec", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=1200, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def test_the_site_is_built_without_a_broken_link(tmp_path: Path) -> None:
    mkdocs = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(mkdocs, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    pages = {path.relative_to(tmp_path / "site").as_posix(): path.read_text() for path in tmp_path.rglob("*.html")}
    assert "<math" in pages["method/index.html"]
    assert not [name for name, text in pages.items() if "$$" in text or 'class="arithmatex"' in text]
    # Nothing that a page needs comes from elsewhere.
    assert not [
        name for name, text in pages.items() if '<script src="http' in text or 'rel="stylesheet" href="http' in text
    ]


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", TUTORIALS)
def test_a_tutorial_runs_as_it_stands(page: str, tmp_path: Path) -> None:
    for number, block in enumerate(blocks_of(page)):
        if block.title is not None:
            (tmp_path / block.title).write_text(block.text)
        elif block.language == "python":
            (tmp_path / f"block_{number}.py").write_text(block.text)
            run(f"python block_{number}.py", tmp_path)
        else:
            assert block.language == "sh"
            run(block.text, tmp_path)


@pytest.fixture(scope="module")
def hopper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which results/hopper is a run of a minute."""
    folder = tmp_path_factory.mktemp("guide")
    sets = " ".join(f"--set {shlex.quote(f'{key}={value}')}" for key, value in SMALL.items())
    run(f"rllib train file {shlex.quote(str(ROOT / 'tuned_examples' / 'hopper.yaml'))} {sets}", folder)
    return folder


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", GUIDE)
def test_the_guide_runs_on_a_run_of_its_name(page: str, hopper: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(hopper, tmp_path / "guide")  # every page is read by itself, and no file is replaced
    typed = 0
    for block in blocks_of(page):
        if block.language == "python" and "FlowPolicy" in block.text:
            zeros = "import numpy as np\nobservation = np.zeros(11, np.float32)\n"
            (folder / "block.py").write_text(zeros + block.text)
            run("python block.py", folder)
        for program, verb, *words in (command for command in block.commands if len(command) > 1):
            if {"push", "pull"} & set(words) or any(word.startswith("hf:") for word in words):
                continue  # of the Hub: tests/hub
            if program == "rllib" and verb in ("evaluate", "policy", "report"):
                run(shlex.join([program, verb, *words]), folder)
                typed += 1
    assert typed > 0
