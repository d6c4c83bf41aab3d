"""Child processes: they get their orders, and none of them outlives its parent."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from allatt.system import processes
from allatt.system.paths import PACKAGE

CHILD = """
import json, os, sys, threading, time
from allatt.system import processes
known = threading.Event()
def stop():  # may be called before the orders have a name
    known.wait()
    {"terminate": processes.terminate, "save": saved, "never": lambda: None}[orders.get("stop", "terminate")]()
def saved():
    print("saved", flush=True)
    os._exit(int(orders.get("ending", 5)))
orders = processes.read_orders(stop)
known.set()
print(json.dumps(orders["echo"]), flush=True)
time.sleep(orders["seconds"])
sys.exit(orders.get("status", 0))
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Starts CHILD with the given orders; `run.text()` is what the last one has printed. Ends them after the test."""
    (tmp_path / "a_child.py").write_text(CHILD)
    monkeypatch.syspath_prepend(tmp_path)
    children = []

    def start(orders, env=None, module="a_child"):
        with open(tmp_path / f"output-{len(children)}", "wb") as output:
            children.append(processes.start(module, orders, output, dict(os.environ) if env is None else env))
        return children[-1]

    start.text = lambda: (tmp_path / f"output-{len(children) - 1}").read_text()
    yield start
    processes.end(*children)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(") ")[1][:1] if os.path.exists("/proc") else True
    except (ProcessLookupError, FileNotFoundError):
        return False


def wait_for(condition, seconds: float = 60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


@pytest.mark.parametrize("echo", [{"a": [1, None, "ü\n"]}, "x" * 100_000], ids=["nested", "longer than a pipe holds"])
def test_orders_reach_the_child_and_its_output_the_file(run, echo):
    child = run({"echo": echo, "seconds": 0, "status": 3})
    assert child.wait() == 3
    assert json.loads(run.text()) == echo


def test_ctrl_c_does_not_reach_a_child(run):
    """The child is in another session, to which the terminal sends no signal."""
    child = run({"echo": "", "seconds": 40})
    assert os.getsid(child.pid) == child.pid != os.getsid(0)


def test_end_stops_all_children(run):
    children = []
    for _ in range(2):
        children.append(run({"echo": "started", "seconds": 40}))
        assert wait_for(run.text), "a child that reads its orders"
    start = time.monotonic()
    processes.end(*children)
    assert [child.returncode for child in children] == [-signal.SIGTERM] * 2 and time.monotonic() - start < 30
    processes.end(*children)  # again is no error


def test_a_child_may_save_its_work_first(run):
    child = run({"echo": "started", "seconds": 40, "stop": "save"})
    assert wait_for(run.text)
    processes.end(child)
    assert child.returncode == 5 and run.text() == '"started"\nsaved\n'


def test_a_child_that_does_not_end_is_killed(run, tmp_path):
    """After GRACE seconds, here one."""
    (tmp_path / "a_child.py").write_text(CHILD.replace("orders = p", "processes.GRACE = 1.0\norders = p"))
    child = run({"echo": "started", "seconds": 40, "stop": "never"})
    assert wait_for(run.text)
    processes.end(child)
    assert child.returncode == 1


def test_a_child_that_exits_before_it_reads_its_orders_is_no_error(run):
    child = run({"echo": "x" * 1_000_000}, module="no_such_module")
    assert child.wait() == 1 and "No module named no_such_module" in run.text()
    processes.end(child)


def test_a_child_without_orders_exits():
    code = "from allatt.system import processes; processes.read_orders(processes.terminate); print('never')"
    done = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True)
    assert (done.returncode, done.stdout) == (1, b"")


def test_orders_that_json_cannot_hold_leave_no_child(run, monkeypatch):
    monkeypatch.setattr(processes.subprocess, "Popen", lambda *given, **options: pytest.fail("started"))
    with pytest.raises(TypeError):
        run({"echo": object()})


def test_no_child_outlives_a_parent_that_is_sigkilled(tmp_path):
    (tmp_path / "a_child.py").write_text(CHILD)
    (tmp_path / "parent.py").write_text(f"""
import os, time
from allatt.system import processes
with open({str(tmp_path / "output")!r}, "wb") as output:
    child = processes.start("a_child", {{"echo": "started", "seconds": 40}}, output, dict(os.environ))
print(child.pid, flush=True)
time.sleep(40)
""")
    env = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py")], stdout=subprocess.PIPE, text=True, env=env)
    pid = int(parent.stdout.readline())
    assert wait_for((tmp_path / "output").read_text), "the child is busy"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert wait_for(lambda: not is_alive(pid), 10)


def test_a_folder_named_allatt_is_not_mistaken_for_the_package(run, tmp_path, monkeypatch):
    (tmp_path / "elsewhere" / "allatt").mkdir(parents=True)
    (tmp_path / "elsewhere" / "allatt" / "__init__.py").write_text("raise SystemExit('another allatt')")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run({"echo": "ours", "seconds": 0}).wait() == 0 and run.text() == '"ours"\n'


def test_a_child_searches_this_allatt_first_and_then_as_we_do(run, tmp_path, monkeypatch):
    (tmp_path / "a_child.py").write_text(CHILD.replace('orders["echo"]', 'os.environ["PYTHONPATH"]'))
    monkeypatch.setattr(processes.sys, "path", ["", *sys.path, "/b"])
    assert run({"seconds": 0}).wait() == 0
    assert json.loads(run.text()).split(os.pathsep) == [str(PACKAGE.parent), *filter(None, sys.path)]


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(processes.os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert processes.cores() == 3
    monkeypatch.delattr(processes.os, "sched_getaffinity")
    monkeypatch.setattr(processes.os, "cpu_count", lambda: None)
    assert processes.cores() == 1


def test_children_get_large_pages_unless_the_user_chooses_otherwise(run, tmp_path):
    (tmp_path / "a_child.py").write_text(CHILD.replace('orders["echo"]', 'os.environ["GLIBC_TUNABLES"]'))
    default = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    for env, expected in ((default, "glibc.malloc.hugetlb=1"),
                          (default | {"GLIBC_TUNABLES": "glibc.malloc.arena_max=2"}, "glibc.malloc.arena_max=2")):
        assert run({"seconds": 0}, env).wait() == 0
        assert run.text() == f'"{expected}"\n'
