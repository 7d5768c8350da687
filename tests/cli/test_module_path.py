"""A user's own modules: found beside the experiment file and in the working folder, by this process and Ray's."""

import subprocess
import sys

import pytest

from rllib_scoreflow.plugins import MODULE_PATH, extend_module_path

FILE = """
fly:
  run: FlowBC
  env: {env}
  stop: {{training_iteration: 1}}
  config: {{dataset: hopper-small, plugins: [{plugin}]}}
"""


@pytest.mark.parametrize("folder", ["files", "."])
def test_modules_beside_the_file_and_in_the_working_folder_are_found(tmp_path, folder) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / folder / "own_parts.py").write_text("")
    (tmp_path / "files" / "fly.yaml").write_text(FILE.format(env="own_parts:Nowhere-v0", plugin="own_parts"))
    # As an installed script: the working folder is not on the path by itself, as it is with -m.
    code = "import sys; from rllib_scoreflow.cli.main import run; sys.path.remove(''); sys.exit(run(sys.argv[1:]))"
    words = [sys.executable, "-c", code, "train", "file", "files/fly.yaml"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "Nowhere" in done.stderr
    assert "cannot be imported" not in done.stderr


def test_a_module_beside_the_file_hides_no_installed_one(tmp_path, monkeypatch) -> None:
    (tmp_path / "h5py.py").write_text("raise RuntimeError")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delenv(MODULE_PATH, raising=False)
    extend_module_path([tmp_path])
    assert sys.path[-1] == str(tmp_path)
    code = "from rllib_scoreflow.runs.session import worker_setup; worker_setup(); import sys; print(sys.path[-1])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == str(tmp_path)
