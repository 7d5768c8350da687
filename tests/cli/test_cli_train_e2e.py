"""Whole runs of the command, each a process of its own with its own Ray."""

import json
import signal
from pathlib import Path

import pytest

from .conftest import start  # type: ignore[import-not-found]
