"""The command line as a whole: help, and one clear line for each error."""

import errno
import importlib
import os
import pkgutil
import re
import subprocess
import sys
import tomllib

import pytest

import allatt
from allatt.cli.main import main
from allatt.config import AllattError
from allatt.system.paths import repository


def test_help_imports_no_other_package():
    code = ("import sys; from allatt.cli.main import main\n"
            "try: main(['--help'])\nexcept SystemExit as stop: assert stop.code == 0\n"
            "others = {name.split('.')[0] for name in sys.modules} - sys.stdlib_module_names - {'allatt', '__main__'}\n"
            "slow = {'asyncio', 'multiprocessing', 'unittest', 'xml'} & set(sys.modules)\n"
            # An editable install adds modules to every start of Python; they are not ours.
            "others = {name for name in others if not name.startswith(('__editable__', '_distutils_hack', 'sitecustomize'))}\n"
            "assert not others | slow, others | slow")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("data", "cost", "run", "experiment", "prune", "generate", "reproduce", "status", "figures", "notebooks"):
        assert re.search(rf"^    {command}\b", done.stdout, flags=re.MULTILINE)


def test_the_script_allatt_and_the_module_are_one_command():
    project = tomllib.loads((repository() / "pyproject.toml").read_text())["project"]
    assert pkgutil.resolve_name(project["scripts"]["allatt"]) is main
    assert importlib.import_module("allatt.__main__").main is main


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"allatt {allatt.__version__}\n"


@pytest.mark.parametrize("arguments", [
    [], ["prnue"], ["reproduce", "--seed", "one"], ["prune", "abc"], ["cost", "--keep", "1"]])
def test_argparse_refuses(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


class OutOfMemoryError(Exception):
    """Recognized by its name, as torch's is."""


@pytest.mark.parametrize("error, status, message", [
    (AllattError("the text is empty"), 2, "the text is empty"),
    (KeyboardInterrupt(), 130, "interrupted; run the same command again to continue"),
    (OSError(errno.ENOSPC, "No space left on device", "ids"), 2, "no space left (ids); free some"),
    (OSError(errno.EDQUOT, "Disk quota exceeded"), 2, "the output cannot be written: quota exceeded; send it elsewhere"),
    (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "permission denied (/x); free some space, or set"),
    (OSError(errno.EROFS, "Read-only file system", "/x"), 2, "read-only (/x); free some space, or set ALLATT_HOME to"),
    (ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib"), 2, "pip install -e '.[notebooks]'"),
    (OutOfMemoryError("CUDA out of memory"), 2, "the GPU's memory is too small; try --micro-rows 8"),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried"), 2,
     "this model or its batch is larger than the memory of this machine; take a smaller one"),
])
def test_errors_that_the_user_can_fix_are_one_line(error, status, message, monkeypatch, capsys):
    from allatt.paper import scales

    def fail(name, variants=False):
        raise error

    monkeypatch.setattr(scales, "resolve", fail)
    assert main(["cost"]) == status
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith("allatt: ") and message in line


@pytest.mark.parametrize("error", [
    ValueError("a bug"), OSError(errno.EIO, "Input/output error"), RuntimeError("another"),
    ModuleNotFoundError("No module named 'allatt.x'", name="allatt.x")])
def test_bugs_show_their_traceback(error, monkeypatch):
    from allatt.paper import scales

    def fail(name, variants=False):
        raise error

    monkeypatch.setattr(scales, "resolve", fail)
    with pytest.raises(type(error)):
        main(["cost"])


def test_a_closed_pipe_ends_it_in_silence_as_other_programs():
    """128 + SIGPIPE, which a shell asks for by `pipefail` alone: whoever trains with `| head` must not take it for done."""
    reader, writer = os.pipe()
    os.close(reader)  # before the first line is written: `head` may leave after the last one
    command = [sys.executable, "-m", "allatt", "cost", "--json"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, cwd=repository())
    os.close(writer)
    assert done.returncode == 141 and done.stderr == b""


def test_ctrl_c_in_a_process_is_one_line():
    code = ("import signal; from allatt import cost; from allatt.cli import main\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it\n"
            "cost.count = lambda *given: signal.raise_signal(signal.SIGINT)\n"
            "raise SystemExit(main.main(['cost']))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stderr == "allatt: interrupted; run the same command again to continue\n"


@pytest.mark.parametrize("redirected, said", [
    (">/dev/full", "allatt: the output cannot be written: no space left; send it elsewhere\n"), (">&-", "")])
def test_an_output_that_takes_nothing(redirected, said):
    command = ["sh", "-c", f"'{sys.executable}' -m allatt cost --json {redirected}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=repository())
    assert (done.returncode, done.stderr) == (2 if said else 0, said)


def test_a_terminal_without_the_characters_gets_escapes(tmp_path):
    (tmp_path / "a.txt").write_text("Ein Bär läuft über die Straße .\n\n" * 400)
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "ALLATT_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "allatt", "data", "--corpus", str(tmp_path), "--tokens", "words", "--vocab-size", "0"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=repository(), env=environment)
    assert done.returncode == 0 and "B\\xe4r" in done.stdout, done.stderr
