"""Child processes that cannot outlive their parent, even if it is SIGKILLed: each ends when its stdin closes.

    parent: start("allatt.runs.parallel", orders, ...)   --one JSON line on stdin-->   child: orders = read_orders()

Libraries do not offer this. Workers of loky 3.7, which joblib uses, were still busy 17 seconds after their parent's SIGKILL.
multiprocessing forks, which is unsafe with the threads of torch and Jupyter, or spawns, which runs the user's script again
and fails if it has no `if __name__ == "__main__"`.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

from allatt.system.paths import PACKAGE

GRACE = 8.0
"""Seconds in which a child has to save its work."""


def cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start(module: str, orders: Any, output: IO, env: dict[str, str]) -> subprocess.Popen:
    """Start `python -m module` in a new session (Ctrl-C reaches only us), with stdout and stderr written to `output`.

    `orders` is any value that JSON can hold; the child gets it from `read_orders`. Stop the child with `end`.
    """
    # The child finds this allatt and this process's packages, even if sys.path was changed.
    # Large pages for malloc make training on a CPU faster (Linux). -P: a folder named allatt in the current folder is ignored.
    search_path = os.pathsep.join([str(PACKAGE.parent), *filter(None, sys.path)])
    env = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"} | env | {"PYTHONPATH": search_path}
    line = json.dumps(orders).encode() + b"\n"
    process = subprocess.Popen([sys.executable, "-P", "-m", module], stdin=subprocess.PIPE, stdout=output, stderr=output,
                               env=env, start_new_session=True)
    with suppress(BrokenPipeError):  # the child exited before it read its orders
        process.stdin.write(line)
        process.stdin.flush()
    return process


def end(*processes: subprocess.Popen) -> None:
    """Stop children that are still running, and wait for all of them."""
    for process in processes:
        with suppress(BrokenPipeError):
            process.stdin.close()
    for process in processes:
        process.wait()


def read_orders(stop: Callable[[], None]) -> Any:
    """Called in the child: return its orders. From then on, when its stdin closes, `stop` is called (in another thread) and
    has to end the child, which is killed if it is still there after GRACE seconds."""
    line = b""
    while not line.endswith(b"\n"):
        # os.read instead of sys.stdin: a thread waiting in sys.stdin would abort the interpreter's shutdown.
        byte = os.read(0, 1)
        if not byte:
            os._exit(1)
        line += byte
    threading.Thread(target=_end_with_stdin, args=[stop], daemon=True).start()
    return json.loads(line)


def terminate() -> None:
    """Ask this process to stop, as `kill` does: a run in training is saved first."""
    os.kill(os.getpid(), signal.SIGTERM)


def _end_with_stdin(stop: Callable[[], None]) -> None:
    while os.read(0, 1):
        pass
    stop()
    time.sleep(GRACE)
    os._exit(1)
