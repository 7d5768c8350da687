"""What a process does with memory that it has freed."""

import os
import platform
import subprocess
import sys

import pytest

_STEPS = """
import resource
import torch
from rllib_scoreflow.policy.memory import keep_freed_memory
torch.set_num_threads(1)
def page_faults():
    for _ in range(3):
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def step():
    kept = [torch.zeros(2**20) for _ in range(8)]
before = page_faults()
keep_freed_memory()
print(before, page_faults())
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_what_a_step_frees_the_next_one_has_without_asking_the_system():
    # As a fresh process begins; where it goes from there depends on what lies where.
    begin = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    run = subprocess.run(
        [sys.executable, "-c", _STEPS],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, **begin},
    )
    before, after = map(int, run.stdout.split())
    assert after < 0.1 * before
