"""Where a run is executed: device, compiler, processes. None of it changes a run's result."""

import importlib.util
import math
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

from allatt.config import check

COMPILED = 500
"""Steps that a run on a GPU needs to earn back the time that compilation takes (our choice)."""
DEVICES, CHOICES = ("auto", "cuda", "cpu"), ("auto", "on", "off")
SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else ()))
"""What asks a process to stop: Ctrl-C, a batch system or `kill`, a terminal that closes."""
OVER = signal.SIGALRM if hasattr(signal, "SIGALRM") else signal.SIGTERM
"""The signal that stands for `Machine.until`."""
LONG = 300
"""With at least this many seconds of training left, a run says how long it will take."""
RENDEZVOUS = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun sets besides WORLD_SIZE."""


def choose_device(name: str = "auto") -> str:
    """The device "cuda" or "cpu"; auto is cuda if torch sees a GPU. AllattError for other names, or cuda without a GPU."""
    check(name in DEVICES, f"device is {name!r}; choose {_or(DEVICES)}")
    check(name != "cuda" or torch.cuda.is_available(), "device is cuda, but torch sees no GPU; use cpu")
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class Machine:
    """Where and how a run is executed. It changes the run's result only by rounding, so it is not in the run's hash.

    With dropout, the masks depend on `micro_rows` and the number of processes (provenance.json has both), as on the seed.
    """

    device: str = "auto"
    """auto (cuda if there is one), cuda or cpu."""
    micro_rows: int = 0
    """Rows that go through the model at once, if memory is short; 0: all rows of this process."""
    compile: str = "auto"
    """on, off, or auto: torch.compile for runs of COMPILED steps or more on a GPU, not on a CPU, where it seldom pays."""
    log_every: int = 0
    """Steps between two lines of metrics; 0: a fiftieth of the run, at most 100."""
    checkpoint_seconds: float = 60.0
    """Seconds between two checkpoints (written on a step that logs)."""
    progress: bool = True
    rate: float = 0.0
    """Price of this machine per hour, in any currency; a run then says what the rest of it costs."""
    tensorboard: str = ""
    """A folder for TensorBoard's files; "": none."""
    until: float | None = None
    """Time (`time.time`) at which a run in training saves itself and stops; None: never."""

    def __post_init__(self):
        check(self.device in DEVICES, f"device is {self.device!r}; choose {_or(DEVICES)}")
        check(self.compile in CHOICES, f"compile is {self.compile!r}; choose {_or(CHOICES)}")
        for name in ("micro_rows", "log_every"):
            check(getattr(self, name) >= 0, f"{name} is {getattr(self, name)}; it must be 0 or more")
        for name in ("checkpoint_seconds", "rate"):
            check(0 <= getattr(self, name) < math.inf, f"{name} is {getattr(self, name)}; it must be 0 or more")

    def resolve(self) -> str:
        """The device, with auto resolved."""
        return choose_device(self.device)

    def forecast(self, seconds: float) -> str:
        """A time with its price: "about 12 minutes (0.80 at 4 per hour)"."""
        price = f" ({seconds / 3600 * self.rate:,.2f} at {self.rate:g} per hour)" if self.rate else ""
        return f"about {seconds / 60:,.0f} minutes{price}"

    def compiles(self, steps: int = COMPILED) -> bool:
        """Whether a run of `steps` steps goes through torch.compile. AllattError if it has to, and what that needs is missing:
        triton and a C compiler on a GPU, a C++ compiler on a CPU."""
        if self.compile == "off":
            return False
        on_gpu = self.resolve() == "cuda"
        able = any(map(shutil.which, ("gcc", "cc", "clang") if on_gpu else ("g++", "c++", "clang++")))
        able &= not on_gpu or importlib.util.find_spec("triton") is not None
        needed = "triton and a C compiler" if on_gpu else "a C++ compiler"
        check(able or self.compile == "auto", f"compile is on, but torch.compile needs {needed}, which is not here; install "
                                              "it, or use --compile off")
        return able and (self.compile == "on" or (on_gpu and steps >= COMPILED))


class Interrupted(KeyboardInterrupt):
    """A signal asked this process to stop."""

    def __init__(self, number: int, saved: str = ""):
        self.number, self.saved = number, saved
        super().__init__(f"stopped by {signal.Signals(number).name}{saved and '; '}{saved}")


@contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """In its block, the first of SIGNALS is noted in the yielded list, so work can be saved; a second one interrupts at once.

    Signals that are ignored, as SIGHUP is under nohup, stay so. In threads other than the main one, nothing is noted.
    """
    noted, before = [], {}

    def note(number: int, frame: object) -> None:
        noted.append(number)
        if len(noted) > 1:
            raise Interrupted(number)

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in SIGNALS}
        before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
        for number in before:
            signal.signal(number, note)
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def rank_and_world() -> tuple[int, int]:
    """This process's number, and the number of processes (torchrun); 0 and 1 without torch.distributed."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def join_torchrun(device: str) -> bool:
    """Under torchrun, join the other processes. True for the process that prints."""
    if _processes() == 1:
        return True
    missing = [name for name in RENDEZVOUS if name not in os.environ]
    check(not missing, f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {', '.join(missing)} is not set; start with torchrun, "
                       "or unset WORLD_SIZE")
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    store, rank, world = next(dist.rendezvous("env://"))
    # torchrun starts all processes again if one dies. In its store they would find the addresses of the dead ones, and wait for
    # them, so each attempt has its own names.
    store = dist.PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    dist.init_process_group("nccl" if device == "cuda" else "gloo", store=store, rank=rank, world_size=world)
    return rank == 0


def leave_torchrun() -> None:
    """Leave the other processes and exit at once: gloo's threads sometimes abort Python's own cleanup."""
    if _processes() > 1:
        dist.barrier()
        dist.destroy_process_group()
        sys.stdout.flush()
        os._exit(0)


def _processes() -> int:
    """How many processes torchrun has started; 1 without it."""
    count = os.environ.get("WORLD_SIZE", "1")
    check(count.isdecimal() and int(count) > 0, f"WORLD_SIZE is {count!r}; torchrun sets it to a number, so unset it")
    return int(count)


def _or(names: tuple[str, ...]) -> str:
    """"auto, cuda or cpu"."""
    return f"{', '.join(names[:-1])} or {names[-1]}"
