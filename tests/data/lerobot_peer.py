"""Run by the interpreter of an environment with LeRobot: what LeRobot reads of a folder, or writes into one.

    python lerobot_peer.py read FOLDER OUT.npz
    python lerobot_peer.py write FOLDER OUT.npz

Both leave in OUT.npz what LeRobot itself hands out: its items, one after another.
"""

import sys
from pathlib import Path

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

LENGTHS, TASKS = (7, 5, 9, 6), ("open the drawer", "push the cube")
SIZE, FPS = 64, 20


def frame_of(episode: int, step: int, view: int) -> np.ndarray:
    """A picture that tells episode, step and view: a flat colour and a moving bar."""
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[...] = (60 + 40 * episode, 220 - 20 * step, 100 + 80 * view)
    image[:, 5 * step : 5 * step + 8] = 255
    return image


def write(folder: Path) -> None:
    vector = {"dtype": "float32", "names": None}
    picture = {"shape": (SIZE, SIZE, 3), "names": ["height", "width", "channels"]}
    features = {
        "observation.state": {**vector, "shape": (4,)},
        "observation.environment_state": {**vector, "shape": (1,)},
        "action": {**vector, "shape": (2,)},
        "next.reward": {**vector, "shape": (1,)},
        "next.done": {"dtype": "bool", "shape": (1,), "names": None},
        "next.success": {"dtype": "bool", "shape": (1,), "names": None},
        "observation.images.top": {"dtype": "video", **picture},
        "observation.images.wrist": {"dtype": "image", **picture},
    }
    dataset = LeRobotDataset.create("test/made", FPS, features, root=folder, robot_type="toy", vcodec="h264")
    rng = np.random.default_rng(0)
    for episode, length in enumerate(LENGTHS):
        for step in range(length):
            last = step == length - 1
            dataset.add_frame(
                {
                    "observation.state": rng.normal(size=4).astype(np.float32),
                    "observation.environment_state": rng.normal(size=1).astype(np.float32),
                    "action": rng.uniform(-1, 1, 2).astype(np.float32),
                    "next.reward": rng.normal(size=1).astype(np.float32),
                    "next.done": np.array([last]),
                    "next.success": np.array([last and episode % 2 == 0]),
                    "observation.images.top": frame_of(episode, step, 0),
                    "observation.images.wrist": frame_of(episode, step, 1),
                    "task": TASKS[episode % 2],
                }
            )
        dataset.save_episode()
    dataset.finalize()


def read(folder: Path, out: Path) -> None:
    dataset = LeRobotDataset("test/any", root=folder, video_backend="pyav")
    items = [dataset[row] for row in range(len(dataset))]
    found = {key: np.stack([np.asarray(item[key]) for item in items]) for key in items[0]}
    stats = {f"stats/{key}/mean": np.asarray(each["mean"]) for key, each in dataset.meta.stats.items()}
    about = {"fps": dataset.fps, "episodes": dataset.num_episodes, "robot_type": str(dataset.meta.robot_type)}
    np.savez(out, **found, **stats, **about)


if __name__ == "__main__":
    command, place, result = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if command == "write":
        write(place)
    read(place, result)
