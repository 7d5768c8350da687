"""What messages repeat of a file, JSON that is refused, and paths with a tilde."""

import json
from pathlib import Path

import pytest

from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.experiments.checks.config import one_sentence
from rllib_scoreflow.experiments.spec import build_experiment, read_experiments
from rllib_scoreflow.files.json import parse_json, read_json
from rllib_scoreflow.files.user_paths import expand_user
from rllib_scoreflow.suggest import hint


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tand  spaces", "two lines and spaces"),
        ("\x1b[2Jcleared", "[2Jcleared"),
        ("lone \ud800 half", "lone  half"),
        ({"a": 1}, "{'a': 1}"),
        ("x" * 201, "x" * 196 + " ..."),
        ("\n" * 100_000 + "x", " ..."),
    ],
)
def test_a_message_repeats_one_short_line_of_a_file(found, shown):
    assert " ".join(shorten(found).split()) == " ".join(shown.split())
    assert len(shorten(found)) <= 200


def test_what_cannot_be_shown_is_named_by_its_type():
    nested: list = []
    for _ in range(100_000):
        nested = [nested]
    assert shorten(nested) == "a list"
    assert shorten(10**5000) == "a int"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"\xff{}", "utf-8"),
        ('{"a": ', "Expecting value"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ("[" * 200 + "]" * 200, "nested too deeply"),
        ("1" * 5000, "digits"),
    ],
)
def test_what_is_no_json_is_refused_in_one_sentence(tmp_path, text, words):
    file = tmp_path / "x.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=words) as error:
        read_json(file)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["NaN", "[-Infinity]", '{"a": 1e999}'])
def test_numbers_that_are_not_finite_are_refused_on_request(text):
    assert parse_json(text, "x") is not None
    with pytest.raises(InputError, match="cannot be read as JSON"):
        parse_json(text, "x", finite=True)


def test_json_is_read(tmp_path):
    content = {"a": [1, 2.5, None, {"b": "ü"}]}
    (tmp_path / "x.json").write_text(json.dumps(content))
    assert read_json(tmp_path / "x.json", finite=True) == content
    with pytest.raises(InputError, match="cannot be read"):
        read_json(tmp_path)


def test_a_tilde_is_a_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert expand_user("~/x") == Path("/somewhere/x")
    assert expand_user("a~/x") == Path("a~/x")
    with pytest.raises(InputError, match="no user 'nosuchuser'"):
        expand_user("~nosuchuser/x")
    with pytest.raises(InputError, match="null character"):
        expand_user("a\0b")


LONG = "x" * 900
EXPERIMENT = {"run": "PPO", "env": "CartPole-v1", "stop": {"training_iteration": 1}}


@pytest.mark.parametrize(
    "content",
    [
        {LONG: EXPERIMENT},
        {LONG: 3},
        {"a": {**EXPERIMENT, LONG: 1}},
        {"a": {**EXPERIMENT, "run": [LONG] * 9}},
        {"a": {**EXPERIMENT, "stop": {LONG: "s"}}},
        {"a": {**EXPERIMENT, "mode": LONG}},
        {"a": {**EXPERIMENT, "checkpoint_config": {LONG: 1}}},
        {"a": {**EXPERIMENT, "loggers": {LONG: 3}}},
        {"a": {**EXPERIMENT, "num_samples": LONG}},
    ],
    ids=["name", "no mapping", "key", "run", "stop", "mode", "checkpoint", "logger", "number"],
)
def test_a_message_on_an_experiment_file_repeats_little_of_it(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))

    def read():
        for name, raw in read_experiments(path).items():
            build_experiment(name, raw, str(path))

    with pytest.raises(InputError) as error:
        read()
    assert str(error.value).count("x") < 250


def test_a_refusal_of_rllib_is_told_whole_and_without_its_way_round_it():
    text = "`a` (3) must be below `b`! " + "Try this. " * 60
    told = one_sentence(ValueError(f"{text}To suppress all validation errors, set `x(y=False)` at your own risk."))
    assert told == text.rstrip(" .")
    assert one_sentence(ValueError("<f object at 0x7f1234567890> is none.")) == "<f object> is none"


def test_a_word_that_is_like_none_is_no_reason_to_list_hundreds():
    words = [f"option_{number}" for number in range(40)]
    assert hint("option_77", words).startswith("did you mean 'option_7")
    assert "option" not in hint("zzz", words)
    assert "40" in hint("zzz", words)
    assert hint("zzz", words[:3]) == "valid ones: option_0, option_1, option_2."
    assert "did you mean" not in hint("rollout", ["log_level", "gamma"])
