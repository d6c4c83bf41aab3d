"""Processes that end with the one that started them, however that ends, SIGKILL included: when their standard input does.

    start("allatt.reproduce.execute", orders, ...)   --(orders, one JSON line)-->   python -m allatt.reproduce.execute: orders()
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import IO, Any

from allatt.system.paths import PACKAGE


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def search_path() -> str:
    """PYTHONPATH with which a process finds this allatt, and the packages of this process, even where its path has changed."""
    return os.pathsep.join([str(PACKAGE.parent), *filter(None, sys.path)])


def start(module: str, orders: Any, output: IO, env: dict[str, str]) -> subprocess.Popen:
    """`python -m module` with these orders, in a session of its own (Ctrl-C is for us); what it says goes to `output`."""
    # Large pages for malloc, on Linux: training on a CPU is faster. -P: another allatt in this folder does not take our place.
    env = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"} | env | {"PYTHONPATH": search_path()}
    process = subprocess.Popen([sys.executable, "-P", "-m", module], stdin=subprocess.PIPE, stdout=output, stderr=output,
                               env=env, start_new_session=True)
    try:
        process.stdin.write(json.dumps(orders).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # it ended before it read its orders
    except BaseException:
        end(process)
        raise
    return process


def end(*processes: subprocess.Popen) -> None:
    """End those that have not ended: tell all first, then wait."""
    for process in processes:
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass
    for process in processes:
        process.wait()


def orders() -> Any:
    """In the process that was started: its orders. From now on it ends when whoever started it is gone."""
    line = b""
    while not line.endswith(b"\n"):
        # os.read, not sys.stdin: a thread that waits in there would abort Python's own clean-up.
        byte = os.read(0, 1)
        if not byte:
            os._exit(1)
        line += byte
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    return json.loads(line)


def _end_with_stdin() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)
