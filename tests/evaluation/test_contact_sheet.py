"""Contact sheets, whose pictures are read again."""

import imageio.v2 as imageio
import numpy as np
import pytest

from rllib_scoreflow.errors import InputError
from rllib_scoreflow.evaluation import draw_contact_sheet, evaluate_policy, record_video, seconds_per_action

OPTIONS = {"seed": 3, "act_steps": 3, "horizon": 4}
SHOWN = "toy_envs:ToyShown-v0"


def do_nothing(observations):
    return np.zeros((len(observations), 4), np.float32)


def look(observations):
    return np.zeros((len(observations["state"]), 4), np.float32)


def greys(path):
    """Values of grey areas at least as large as a tenth of a picture, in the order of reading."""
    image = imageio.imread(path)[..., :3].astype(int)
    values, counts = np.unique(image[(image == image[..., :1]).all(-1)][:, 0], return_counts=True)
    places = {}
    for value in values[counts > 2000]:
        rows, columns = np.nonzero((image == value).all(-1))
        places[int(value)] = (round(np.median(rows) / 100), np.median(columns))
    places.pop(255, None)
    return sorted(places, key=places.get)


def solid(image, value):
    """Where areas of this value are, without the edges of letters."""
    mask = image == value
    return np.argwhere(mask[4:, 4:] & mask[:-4, 4:] & mask[4:, :-4] & mask[:-4, :-4])


@pytest.mark.parametrize(("length", "frames"), [(201, 12), (240, 5), (7, 12), (1, 4)])
def test_pictures_at_even_intervals_from_the_first_to_the_last_step(tmp_path, length, frames):
    from toy_envs import Shown

    Shown.frames = 0
    path = tmp_path / "sheet.png"
    sheet = draw_contact_sheet(do_nothing, SHOWN, path, env_config={"limit": length}, frames=frames, **OPTIONS)
    assert (sheet.length, sheet.path) == (length, path)
    assert sheet.episode_return == length * (length + 1) / 2
    assert sheet.success == float(length % 2 == 0)
    assert len(sheet.steps) == min(frames, length + 1)
    wanted = np.linspace(0, length, len(sheet.steps))
    assert np.abs(np.array(sheet.steps) - wanted).max() <= max(0.5, length / frames / 8)
    assert (sheet.steps[0], sheet.steps[-1]) == (0, length)
    assert greys(path) == list(sheet.steps)
    assert Shown.frames <= min(length + 2, 25 * frames)
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]


def test_it_is_the_episode_of_the_evaluation_and_of_the_video(tmp_path):
    sheet = draw_contact_sheet(do_nothing, SHOWN, tmp_path / "a.png", **OPTIONS)
    video = record_video(do_nothing, SHOWN, tmp_path / "a.mp4", **OPTIONS)
    evaluation = evaluate_policy(do_nothing, SHOWN, episodes=1, **OPTIONS)
    assert sheet.length == video.length == evaluation.lengths[0]
    assert sheet.episode_return == video.episode_return == evaluation.returns[0]
    assert sheet.success == video.success == evaluation.successes[0]
    assert video.fps == 10


def test_what_the_cameras_see_stands_under_each_frame(tmp_path):
    path = tmp_path / "a.png"
    config = {"limit": 200}
    sheet = draw_contact_sheet(look, "toy_envs:ToyPixels-v0", path, env_config=config, frames=2,
                               max_episode_steps=90, **OPTIONS)  # fmt: skip
    assert sheet.steps == (0, 90)
    assert sheet.success is not None
    image = imageio.imread(path)[..., 0]
    first, last, limit = (solid(image, value) for value in (0, 90, 200))
    # The frame and, below it, the left camera show the count; the right camera shows the limit.
    assert np.ptp(last[:, 0]) > 1.2 * np.ptp(last[:, 1])
    assert len(limit) > 2 * 2000
    halves = [limit[limit[:, 1] < image.shape[1] / 2], limit[limit[:, 1] >= image.shape[1] / 2]]
    assert len(halves[0]) == pytest.approx(len(halves[1]), rel=0.1)
    assert halves[1][:, 0].min() > np.median(last[:, 0])
    assert first[:, 1].mean() < halves[0][:, 1].max() < last[:, 1].min()


def test_nothing_is_replaced_unasked(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"precious")
    with pytest.raises(InputError, match=r"a\.png' exists"):
        draw_contact_sheet(do_nothing, SHOWN, path, **OPTIONS)

    def fail(observations):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        draw_contact_sheet(fail, SHOWN, path, overwrite=True, **OPTIONS)
    assert path.read_bytes() == b"precious"
    draw_contact_sheet(do_nothing, SHOWN, path, overwrite=True, **OPTIONS)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a.jpg", {}, r"ends in \.png"),
        ("b/a.png", {}, "does not exist"),
        ("a.png", {"frames": 1}, "choose at least 2"),
        ("a.png", {"act_steps": 5}, "choose 1 to horizon"),
        ("a.png", {"env_id": "toy_envs:ToyEndless-v0"}, "no time limit"),
        ("a.png", {"env_id": "toy_envs:ToyCountdown-v0"}, "cannot be rendered here|refuses env_config"),
    ],
)
def test_bad_options(tmp_path, name, options, words):
    with pytest.raises(InputError, match=words):
        draw_contact_sheet(do_nothing, **{"env_id": SHOWN, "path": tmp_path / name, **OPTIONS, **options})
    assert list(tmp_path.iterdir()) == []


def test_seconds_of_one_action():
    import time

    def slow(observations):
        time.sleep(0.004)
        return do_nothing(observations)

    assert 0.002 <= seconds_per_action(slow, np.zeros((1, 2), np.float32), 2) < 0.004
