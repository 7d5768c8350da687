"""The readers of the published layouts; importing this registers them.

The last one is asked first: D4RL's takes every HDF5 file that is left.
"""

from rllib_scoreflow.data.readers import d4rl as d4rl_hdf5
from rllib_scoreflow.data.readers import lerobot as lerobot_dataset
from rllib_scoreflow.data.readers import minari as minari_dataset
from rllib_scoreflow.data.readers import reinflow as reinflow_npz
from rllib_scoreflow.data.readers import robomimic as robomimic_hdf5
from rllib_scoreflow.data.readers.base import READERS, Reader, known_suffixes, reader_of, readers

__all__ = [
    "READERS",
    "Reader",
    "d4rl_hdf5",
    "known_suffixes",
    "lerobot_dataset",
    "minari_dataset",
    "reader_of",
    "readers",
    "reinflow_npz",
    "robomimic_hdf5",
]
