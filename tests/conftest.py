"""What all tests share: threads for the cores that there are, and a home of their own."""

import os
import threading

import pytest
from local_hub import Server

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # idle threads spin a moment, then sleep


def pytest_configure(config):
    """pytest-xdist runs several of us: together, and with the kernels that nbval starts, no more threads than cores.

    Set by the one that starts the others, which inherit it.
    """
    workers = len(getattr(config.option, "tx", None) or ["one"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))


@pytest.fixture(scope="session")
def session_home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module", autouse=True)
def home_of_tests(session_home):
    """No test writes into the user's .allatt; those of one process share corpora, ids and runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALLATT_HOME", str(session_home))
        yield session_home


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home for one test, and no ALLATT_DATA."""
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ALLATT_DATA", raising=False)
    return tmp_path / "home"


@pytest.fixture
def clock_of_steps(monkeypatch):
    """Call it with the seconds that a training step takes: `time.time` then tells what all steps have taken, in a list."""
    def start(seconds: float) -> list[float]:
        from allatt.train import Trainer

        now, one_step = [0.0], Trainer.one_step

        def step(self):
            now[0] += seconds
            return one_step(self)

        monkeypatch.setattr(Trainer, "one_step", step)
        monkeypatch.setattr("time.time", lambda: now[0])
        return now

    return start


@pytest.fixture
def server(monkeypatch):
    """A `local_hub.Server` that listens, and no proxies."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
