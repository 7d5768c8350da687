"""Experiments from Python files: their variables, their own argument parsers, and the example scripts of RLlib."""

import sys
import textwrap
from pathlib import Path

import pytest
import ray
import ray.rllib.examples.algorithms as examples

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.experiments.spec import build_experiment, read_experiments

EXAMPLES = Path(examples.__file__).parent
CONFIG = """
    from ray.rllib.algorithms.ppo import PPOConfig
    config = PPOConfig().environment("CartPole-v1").training(lr=0.002)
"""
PARSER = """
    from ray.rllib.examples.utils import add_rllib_example_script_args, run_rllib_example_script_experiment
    parser = add_rllib_example_script_args(default_reward=77.0, default_iters=5, default_timesteps=900)
"""
RUN = """
    if __name__ == "__main__":
        run_rllib_example_script_experiment(config, args{})
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a Python file of some parts; the command's own arguments are such as no file knows."""
    monkeypatch.setattr(sys, "argv", ["rllib", "train", "file", "x.py", "--results-dir", "elsewhere"])

    def make(*parts: str) -> Path:
        file = tmp_path / "mine.py"
        file.write_text("".join(textwrap.dedent(part) for part in parts))
        return file

    return make


def read(file: Path) -> dict:
    raw = read_experiments(file)
    assert list(raw) == [file.stem]
    return raw[file.stem]


def test_a_files_own_parser_finds_the_files_name_alone(write) -> None:
    own = "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--iters', type=int, default=4)\n"
    rest = "args = parser.parse_args()\nstop = {'training_iteration': args.iters}\n"
    raw = read(write(own, rest, CONFIG))
    assert raw["stop"] == {"training_iteration": 4}
    assert sys.argv[:2] == ["rllib", "train"]


def test_the_parser_of_rllibs_examples_says_when_to_stop(write) -> None:
    raw = read(write(PARSER, "args = parser.parse_args()\n", CONFIG))
    assert raw["stop"] == {
        "env_runners/episode_return_mean": 77.0,
        "env_runners/num_env_steps_sampled_lifetime": 900,
        "training_iteration": 5,
    }
    own = read(write(PARSER, "args = parser.parse_args()\nstop = {'training_iteration': 2}\n", CONFIG))
    assert own["stop"] == {"training_iteration": 2}


def test_arguments_that_must_be_given_are_said_in_one_sentence(write, capsys) -> None:
    own = "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--robot', required=True)\n"
    with pytest.raises(InputError, match=r"without arguments: .*required: --robot; give its arguments defaults"):
        read(write(own, "parser.parse_args()\n", CONFIG))
    assert capsys.readouterr().err == ""


def test_a_script_of_rllibs_is_read_as_far_as_tune(write) -> None:
    before = ray.is_initialized()  # by a test of another file, it may be
    raw = read(
        write(
            PARSER,
            CONFIG.replace("config =", "made ="),
            """
    if __name__ == "__main__":
        args = parser.parse_args()
        run_rllib_example_script_experiment(made, args, stop={"training_iteration": 3})
    """,
        )
    )
    assert raw["_base"].lr == 0.002
    assert raw["run"].__name__ == "PPO"
    assert raw["stop"] == {"training_iteration": 3}
    assert raw["num_samples"] == 1
    assert ray.is_initialized() == before


def test_the_scripts_arguments_are_laid_over_its_config(write) -> None:
    made = CONFIG.replace("config =", "made =").replace('.environment("CartPole-v1")', "")
    raw = read(
        write(
            PARSER,
            "parser.set_defaults(env='Acrobot-v1', num_env_runners=3, evaluation_interval=2)\n",
            made,
            """
    if __name__ == "__main__":
        args = parser.parse_args()
        run_rllib_example_script_experiment(made, args)
    """,
        )
    )
    base = raw["_base"]
    assert (base.env, base.num_env_runners, base.evaluation_interval) == ("Acrobot-v1", 3, 2)
    assert raw["stop"]["env_runners/episode_return_mean"] == 77.0


@pytest.mark.parametrize("name", ["vpg_custom_algorithm", "appo_custom_algorithm_w_shared_data_actor"])
def test_installed_examples_become_experiments(name) -> None:
    file = EXAMPLES / f"{name}.py"
    experiment = build_experiment(name, read(file), str(file))
    assert experiment.base.env == "CartPole-v1"
    assert set(experiment.stop) == {
        "env_runners/episode_return_mean",
        "env_runners/num_env_steps_sampled_lifetime",
        "training_iteration",
    }
    assert issubclass(experiment.run, ray.rllib.algorithms.Algorithm)


TWICE = f"{textwrap.dedent(RUN).format('')}    print('and evaluates')\n"


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (["x = 1\n"], ["has no variable `config`", "PPOConfig()"]),
        (["config = {'lr': 1}\n"], ["a `config` of type dict"]),
        (["def ("], ["SyntaxError"]),
        (["1 / 0\n"], ["ZeroDivisionError"]),
        ([CONFIG, "import ray; ray.init = lambda: None\n", "raise SystemExit(3)\n"], ["SystemExit: 3"]),
        (["if __name__ == '__main__':\n    print('training ...')\n"], ["trains by itself", "python "]),
        ([PARSER, CONFIG.replace("config =", "made ="), TWICE], ["more than one training", "python "]),
    ],
)
def test_other_files_are_refused_in_one_sentence(write, parts, words, monkeypatch) -> None:
    monkeypatch.setattr(ray, "init", ray.init)  # the file's change of it goes again
    with pytest.raises(InputError) as refused:
        read(write(*parts))
    assert all(word in str(refused.value) for word in words), refused.value
    assert "mine.py" in str(refused.value)


def test_the_example_that_trains_by_itself_names_python() -> None:
    with pytest.raises(InputError, match=r"trains by itself; run it with `python .*maml"):
        read(EXAMPLES / "maml_lr_supervised_learning.py")
