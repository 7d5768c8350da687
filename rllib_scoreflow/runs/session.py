"""Ray for one command: started quietly, stopped always; and what Ctrl-C does."""

import contextlib
import importlib.util
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from rllib_scoreflow.errors import InputError, shorten
from rllib_scoreflow.experiments.quiet import set_log_levels
from rllib_scoreflow.plugins import MODULE_PATH

_WATCH_S = 1.0
_TOGETHER_S = 1.0
_CONNECT_S = 5.0
_SMALLEST_STORE = 75 * 2**20  # bytes; Ray refuses less


@dataclass(frozen=True)
class RayOptions:
    """Where Ray runs.

    Attributes:
        address: an existing cluster ("auto" or host:port), or None for one of this command's own on
            this machine.
        num_cpus: CPUs of that own cluster, or None for all.
        num_gpus: GPUs of it, or None for all.
        verbosity: as in `quieten`.
        wait_s: how long to wait for an existing cluster to grow to what a trial asks for, seconds.
        object_store_bytes: size of the own cluster's object store, or None for Ray's choice.
        dashboard: whether the own cluster serves Ray's dashboard.
    """

    address: str | None = None
    num_cpus: int | None = None
    num_gpus: int | None = None
    verbosity: int = 0
    wait_s: float = 900.0
    object_store_bytes: int | None = None
    dashboard: bool = False

    def __post_init__(self) -> None:
        own = {
            "--ray-num-cpus": self.num_cpus is not None,
            "--ray-num-gpus": self.num_gpus is not None,
            "--ray-object-store-memory": self.object_store_bytes is not None,
            "--ray-ui": self.dashboard,
        }
        given = next((option for option, is_given in own.items() if is_given), None)
        if self.address is not None and given is not None:
            raise InputError(
                f"{given} describes a Ray of this command's own and cannot go with --ray-address; drop one of them."
            )
        if self.object_store_bytes is not None and self.object_store_bytes < _SMALLEST_STORE:
            raise InputError(
                f"--ray-object-store-memory is {self.object_store_bytes} bytes; Ray takes {_SMALLEST_STORE} at least."
            )
        if self.dashboard and importlib.util.find_spec("aiohttp_cors") is None:
            raise InputError(
                "--ray-ui needs Ray's dashboard, which is not installed; run `pip install 'ray[default]'`."
            )


def worker_setup() -> None:
    """Prepare a Ray worker process: registration of algorithms and environments is per process."""
    from rllib_scoreflow.experiments.checks.algorithms import register_own
    from rllib_scoreflow.plugins import take_module_path

    take_module_path()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    register_own()


def check_address(address: str) -> None:
    """Try whether anything listens at a cluster's address; Ray itself would wait for it for minutes.

    Args:
        address: ``auto``, ``local``, ``host:port`` or ``ray://host:port``.

    Raises:
        InputError: nothing does, or it is no address.
    """
    if address in {"auto", "local"}:
        return
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
        if host is None or port is None:
            raise ValueError("it is not `auto`, host:port or ray://host:port")
        socket.create_connection((host, port), timeout=_CONNECT_S).close()
    except (OSError, ValueError) as error:
        reason = shorten(getattr(error, "strerror", None) or str(error))
        raise InputError(f"--ray-address {shorten(address)}: no Ray cluster answers there ({reason}).") from error


@contextlib.contextmanager
def ray_session(options: RayOptions) -> Iterator[None]:
    """Start Ray (or join a cluster) and leave it again at the end, whatever happens.

    Args:
        options: where.

    Raises:
        InputError: the cluster cannot be reached.
    """
    import ray

    from rllib_scoreflow.runs.ray_adapter import sessions_of_their_own

    set_log_levels()
    level = ("error", "warning", "info")[min(options.verbosity, 2)]
    arguments: dict[str, Any] = {
        "include_dashboard": options.dashboard,
        "log_to_driver": options.verbosity > 0,
        "logging_level": level.upper(),
        "runtime_env": {
            "worker_process_setup_hook": "rllib_scoreflow.runs.session.worker_setup",
            # A trial's output goes to files too, and Ray Data asks that stream whether it is a terminal.
            "env_vars": {MODULE_PATH: os.environ.get(MODULE_PATH, ""), "RAY_DATA_DISABLE_PROGRESS_BARS": "1"},
        },
    }
    if options.address is not None:
        check_address(options.address)
        arguments["address"] = options.address
        del arguments["include_dashboard"]
    else:
        arguments.update(
            num_cpus=options.num_cpus,
            num_gpus=options.num_gpus,
            object_store_memory=options.object_store_bytes,
            address="local",
        )
    try:
        with sessions_of_their_own():
            context = ray.init(**arguments)
    except (ConnectionError, ValueError) as error:
        if options.address is None:
            raise
        reason = shorten(str(error).splitlines()[0].rstrip("."))
        raise InputError(f"--ray-address {options.address}: no Ray cluster answers there ({reason}).") from error
    try:
        if options.dashboard:
            print(f"Ray's dashboard: http://{context.dashboard_url}", flush=True)
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def watching_ray(on_loss: Callable[[str], None]) -> Iterator[None]:
    """Notice within seconds that Ray itself has died; who waits for it may wait for ever.

    Args:
        on_loss: called in another thread, once, with the name of the process that was lost.
    """
    from rllib_scoreflow.runs.ray_adapter import lost_process

    over = threading.Event()

    def watch() -> None:
        before = None
        while not over.wait(_WATCH_S):
            lost = lost_process()
            if lost is not None and lost == before:  # twice: not while a cluster's socket is busy
                on_loss(lost)
                return
            before = lost

    thread = threading.Thread(target=watch, name="watching Ray", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def ray_resources() -> dict[str, float]:
    """All that the running Ray has to give, by the name of the resource."""
    import ray

    return dict(ray.cluster_resources())


class Interrupt:
    """Ctrl-C and SIGTERM during a run: the first ends it with a checkpoint, a later one at once.

    Attributes:
        asked: set once the user wants the run to end.
    """

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._asked_at = 0.0

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Handle the two signals within this block (main thread only)."""
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._handle) for number in signals}
        # Tune puts its own handler here once its loop runs; until then the signal's default would
        # kill the process.
        before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, signal.default_int_handler)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked.is_set():
            # `timeout` sends its signal twice, to the command and to the whole group.
            if time.monotonic() - self._asked_at > _TOGETHER_S:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                stop_tune()
            return
        self._asked_at = time.monotonic()
        self.asked.set()
        text = "\nStopping after this iteration, with a checkpoint (again to stop at once) ...\n"
        os.write(sys.stderr.fileno(), text.encode())  # print is not safe within a signal handler


def stop_tune() -> None:
    """Let Tune's loop save the experiment's state and end; it listens for SIGUSR1."""
    signal.raise_signal(signal.SIGUSR1)


INTERRUPT = Interrupt()
