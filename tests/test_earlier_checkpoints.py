"""Checkpoints outlive the modules, and the Python, that they were written with."""

import pickle
import pickletools
import sys
from importlib import import_module
from pathlib import Path

import pytest
import ray
from ray.rllib.algorithms.algorithm import Algorithm

from rllib_scoreflow.algorithms.common.ray_adapter import name_class_in_checkpoint
from rllib_scoreflow.algorithms.flow_bc import FlowBC, FlowBCConfig
from rllib_scoreflow.moved import MOVED

NAMES = [
    line.split()
    for line in (Path(__file__).parent / "fixtures" / "checkpoint_names.txt").read_text().splitlines()
    if not line.startswith("#")
]


def reference(module: str, name: str) -> bytes:
    """A pickle of protocol 4 that holds nothing but a class or method by its name."""
    texts = b"".join(pickle.SHORT_BINUNICODE + bytes([len(text)]) + text.encode() for text in (module, name))
    return pickle.PROTO + b"\x04" + texts + pickle.STACK_GLOBAL + pickle.STOP


def test_all_that_earlier_checkpoints_name_is_found() -> None:
    assert len(NAMES) > 40
    assert {module for module, _ in NAMES} & set(MOVED)
    for module, name in NAMES:
        assert pickle.loads(reference(module, name)).__name__ == name.rpartition(".")[2]


@pytest.mark.parametrize("old", MOVED)
def test_a_moved_module_is_the_new_one(old) -> None:
    sys.modules.pop(old, None)
    assert import_module(old) is import_module(MOVED[old])
    assert import_module(old).__spec__.name == MOVED[old]


def test_other_modules_are_missing_as_ever() -> None:
    with pytest.raises(ModuleNotFoundError):
        import_module("rllib_scoreflow.algorithms.no_module")


def test_a_checkpoint_that_an_actor_writes_names_its_class(tmp_path) -> None:
    """Ray derives the class of an actor from the one that it is given, without a name that could be imported."""
    remote = ray.remote(FlowBC)
    derived = remote.__ray_metadata__.modified_class
    assert derived is not FlowBC
    algorithm = object.__new__(derived)
    algorithm.config = FlowBCConfig()
    name_class_in_checkpoint(algorithm, tmp_path)
    stored = (tmp_path / Algorithm.CLASS_AND_CTOR_ARGS_FILE_NAME).read_bytes()
    assert pickle.loads(stored)["class"] is FlowBC
    assert not {arg for _, arg, _ in pickletools.genops(stored) if arg == "_make_skeleton_class"}
