"""The command line as Ray's own ``rllib`` had it: what has a meaning works, the rest is said in one sentence."""

import contextlib
import http.server
import json
import shutil
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from rllib_scoreflow.cli.main import run
from rllib_scoreflow.experiments.yaml import MAX_BYTES

PPO = {"run": "PPO", "env": "CartPole-v1", "stop": {"training_iteration": 1}}
ONE = ("--algo", "PPO", "--env", "CartPole-v1", "--stop", '{"training_iteration": 1}')


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "exp.yaml"
    path.write_text(json.dumps({"cart": PPO}))
    return path


@pytest.fixture
def planned(monkeypatch):
    """Run a command as far as the experiments that it would train; return the first, the options, and the stem."""
    from rllib_scoreflow.runs import plan

    seen = {}

    def note(raw, origin, base_dir, stem, options):
        seen.update(experiment=plan.prepare(raw, origin, options)[0], options=options, stem=stem, origin=origin)

    monkeypatch.setattr(plan, "train", note)

    def command(*words):
        assert run([str(word) for word in words]) == 0
        return seen["experiment"], seen["options"], seen["stem"]

    return command


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--trace",), ["TensorFlow"]),
        (("--eager",), ["TensorFlow"]),
        (("--framework", "tf2"), ["torch only"]),
        (("--local-mode",), ["no local mode", "--set config.num_env_runners=0"]),
        (("--resources-per-trial", '{"cpu": 4}'), ["num_env_runners", "num_learners"]),
        (("--upload-dir", "s3://bucket"), ["--results-dir"]),
        (("--ray-num-nodes", "2"), ["ray start", "--ray-address"]),
        (("--redis-address", "x:1"), ["--ray-address"]),
        (("--queue-trials",), ["--ray-wait"]),
        (("--export-formats", "model"), ["rllib policy export"]),
        (("-t", "yaml"), ["ending of the file's name"]),
        (("--num-samples", "0"), ["num_samples is 0"]),
        (("--max-failures", "-2"), ["max_failures is -2"]),
        (("--ray-object-store-memory", "5"), ["--ray-object-store-memory is 5 bytes"]),
        (("--ray-object-store-memory", "99999999", "--ray-address", "auto"), ["cannot go with --ray-address"]),
        (("--restore", "nowhere"), ["restore names nowhere, which does not exist"]),
        (("--checkpoint-score-attr", "rewrad"), ["checkpoint_score_attribute 'rewrad'"]),
    ],
)
def test_what_has_no_meaning_any_more_is_said_in_one_sentence(refused, file, option, words) -> None:
    for form in (("train", *ONE), ("train", "file", file), ("train", "-f", file)):
        sentence = refused(*form, *option)
        assert all(word in sentence for word in words), sentence
        assert option[0].lstrip("-").replace("-", "_").split("_")[0] in sentence


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("train", "file", "x.yaml", "--algo", "PPO"), "--set run=PPO"),
        (("train", "file", "x.yaml", "-c", "{}"), "--set config.KEY=VALUE"),
        (("train", "file", "x.yaml", "-n", "mine"), "--only NAME"),
        (("train", "-f", "x.yaml", "--config", '{"lr": 1}'), "--set config.KEY=VALUE"),
        (("train", "-f", "x.yaml", "-a", "PPO"), "--set run=PPO"),
        (("train", "x.yaml"), "rllib train file x.yaml"),
        (("rollout", "checkpoint", "--run", "PPO"), "rllib evaluate CHECKPOINT"),
        (("train", "--algo", "PPO", "--stop", '{"training_iteration": 1}'), "PPO needs an environment"),
        (("train", "--algo", "BC", "--stop", '{"training_iteration": 1}'), "BC needs an environment"),
    ],
)
def test_where_a_word_belongs(refused, words, expected) -> None:
    assert expected in refused(*words)


def test_short_and_old_names_mean_the_same(planned) -> None:
    words = ("-e", "CartPole-v1", "-c", '{"lr": 0.01}', "-s", '{"training_iteration": 3}', "-n", "mine")
    for algorithm in (("-a", "PPO"), ("-r", "PPO"), ("--run", "PPO")):
        experiment, options, stem = planned(
            "train", *algorithm, *words, "--local-dir", "there", "--set", "config.gamma=0.5"
        )
        assert (experiment.name, experiment.run, experiment.env) == ("mine", "PPO", "CartPole-v1")
        assert experiment.config == {"lr": 0.01, "gamma": 0.5}
        assert experiment.stop == {"training_iteration": 3}
        assert options.results_dir == Path("there")
        assert stem == "command-line"


def test_a_file_takes_the_options_of_both_old_commands(planned, file) -> None:
    options = (
        "--num-samples", 4, "--max-failures", 0, "--checkpoint-freq", 3, "--checkpoint-at-end",
        "--keep-checkpoints-num", 5,
        "--checkpoint-score-attr", "min-episode_reward_mean", "--framework", "torch", "--env", "Acrobot-v1",
        "--ray-object-store-memory", 10**8, "--log-debug", "--ray-ui", "--restore", "somewhere",
    )  # fmt: skip
    for form in (("train", "file", file), ("train", "-f", file), ("train", "--config-file", file)):
        experiment, given, stem = planned(*form, *options)
        assert (experiment.env, experiment.num_samples, stem) == ("Acrobot-v1", 4, "exp")
        assert experiment.setting("max_failures") == 0
        assert experiment.setting("restore") == "somewhere"
        assert experiment.config == {"framework": "torch"}
        assert experiment.checkpoint == {
            "checkpoint_frequency": 3,
            "checkpoint_at_end": True,
            "num_to_keep": 5,
            "checkpoint_score_attribute": "min-episode_reward_mean",
        }
        assert (given.ray.object_store_bytes, given.ray.verbosity, given.ray.dashboard) == (10**8, 2, True)


@pytest.mark.parametrize(("option", "level"), [("-v", 1), ("-vv", 2), ("--log-info", 1), ("--log-debug", 2)])
def test_names_of_the_level_of_output(planned, file, option, level) -> None:
    assert planned("train", "file", file, option)[1].ray.verbosity == level


class Files(http.server.BaseHTTPRequestHandler):
    """Serves some experiment files, and answers that are none."""

    def do_GET(self) -> None:
        name = self.path.partition("?")[0]
        body = json.dumps({"cart": PPO}).encode()
        headers = {"Content-Type": "text/plain"}
        status = 200
        if name == "/moved.yaml":
            status, headers["Location"] = 302, "/good.yaml"
        elif name == "/around.yaml":
            status, headers["Location"] = 302, "/around.yaml"
        elif name == "/open.yaml":
            status, headers["Location"] = 302, "http://localhost/good.yaml"
        elif name == "/page.yaml":
            headers["Content-Type"], body = "text/html; charset=utf-8", b"<html></html>"
        elif name == "/bytes.yaml":
            body = b"\xff\xfe\x00"
        elif name == "/list.yaml":
            body = b"[1, 2]"
        elif name == "/long.yaml":
            body = b"#" * (MAX_BYTES + 1)
        elif name != "/good.yaml":
            status = 404
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError, ssl.SSLError):  # nobody reads the long one to its end
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost, signed by itself, with its key in the same file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    path = tmp_path_factory.mktemp("certificate") / "both.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", f"{path}.key", "-out", f"{path}.crt"]
    subprocess.run([*words.split(), *files], check=True, capture_output=True)
    path.write_text(Path(f"{path}.key").read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def server(certificate, monkeypatch):
    """The address of a server whose certificate is trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("NO_PROXY", "localhost")
    with http.server.ThreadingHTTPServer(("localhost", 0), Files) as served:
        served.socket = context.wrap_socket(served.socket, server_side=True)
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"https://localhost:{served.server_port}"
        served.shutdown()


@pytest.mark.parametrize("name", ["good.yaml", "moved.yaml", "good.yaml?token=abc"])
def test_a_file_is_read_by_its_address(planned, server, name) -> None:
    experiment, _, stem = planned("train", "file", f"{server}/{name}")
    assert (experiment.name, experiment.run) == ("cart", "PPO")
    assert stem == name.partition(".")[0]
    assert "abc" not in experiment.origin


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere.yaml", ["404"]),
        ("around.yaml", ["without end"]),
        ("open.yaml", ["without https://"]),
        ("page.yaml", ["a web page", "Raw"]),
        ("bytes.yaml", ["not a text file"]),
        ("list.yaml", ["holds no experiments"]),
        ("long.yaml", [f"more than {MAX_BYTES} bytes"]),
        ("code.py", ["is Python", "download it, read it"]),
        ("archive.zip", ["does not end in .yaml"]),
    ],
)
def test_an_answer_that_is_no_file_is_one_sentence(refused, server, name, words) -> None:
    sentence = refused("train", "file", f"{server}/{name}")
    assert all(word in sentence for word in words), sentence


def test_a_certificate_nobody_trusts_is_said(refused, server, monkeypatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    assert "certificate is not trusted" in refused("train", "file", f"{server}/good.yaml")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://localhost/x.yaml", ["https://", "change what arrives"]),
        ("s3://bucket/x.yaml", ["https://", "cannot be read"]),
        ("https://localhost:9/x.yaml", ["no connection"]),
        ("https://me:secret@localhost/x.yaml", ["password is not taken"]),
        ("https://[::/x.yaml", ["no address"]),
    ],
)
def test_other_addresses_are_refused(refused, address, words, monkeypatch) -> None:
    monkeypatch.setenv("NO_PROXY", "localhost")
    sentence = refused("train", "file", address)
    assert all(word in sentence for word in words), sentence
    assert "secret" not in sentence
