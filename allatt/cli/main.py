"""The command line: assembles the parser from the commands' modules, and reports errors as one line."""

import argparse
import os
import signal
import sys
from contextlib import suppress

from allatt import __version__
from allatt.cli import describe, models, notebooks, packing, training
from allatt.config import AllattError
from allatt.system.messages import note

OUTPUT = "the output cannot be written"
"""How the message begins if stdout is full."""


def main(argv: list[str] | None = None) -> int:
    """Run a command. Returns the exit status: 0, 1 (a notebook failed), 2 (an error that the user can fix), or 128 and the
    number of the signal that stopped it: 130 (Ctrl-C), 143 (SIGTERM), 129 (SIGHUP)."""
    _prepare_streams()
    parser = argparse.ArgumentParser(prog="allatt", description="All-attention language models with pruned heads: "
                                     "a companion to Shim et al. 2021. `make help` lists the most common uses.")
    parser.add_argument("--version", action="version", version=f"allatt {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in (describe, training, models, packing, notebooks):
        module.add_commands(commands)
    options = parser.parse_args(argv)
    # Before torch is imported: its idle threads spin for a moment, then sleep (see `allatt.reproduce.execute`).
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    for name in ("SIGTERM", "SIGHUP"):  # like Ctrl-C: what is training is saved, children end, and one line says so
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _stop)
    try:
        status = options.handler(options)
        sys.stdout.flush()
        return status or 0
    except BrokenPipeError:  # the reader of our output, e.g. `head`, has closed it: end as other programs do
        _close_output()
        return 128 + signal.SIGPIPE
    except (Exception, KeyboardInterrupt) as error:
        message = _explanation(error)
        if not message:
            raise
        note(message)
        if message.startswith(OUTPUT):
            _close_output()  # else Python would fail again when it ends
        return 128 + getattr(error, "number", signal.SIGINT) if isinstance(error, KeyboardInterrupt) else 2


def _prepare_streams() -> None:
    """A closed stream (`>&-`) becomes one that discards everything; what a terminal cannot show is written as an escape."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _close_output() -> None:
    with suppress(OSError, ValueError):  # it may have no file number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stop(number: int, frame: object) -> None:
    from allatt.system.machine import Interrupted

    raise Interrupted(number)


def _explanation(error: BaseException) -> str:
    """One line: what went wrong and what to do. "" for a bug, whose traceback should be shown."""
    from allatt.system.files import DISK_ERRORS  # here, so that --help does not wait for its imports

    if isinstance(error, AllattError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return f"{str(error) or 'interrupted'}; run the same command again to continue"
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        if not error.filename:  # files are written by `allatt.system.files`, which names them
            return f"{OUTPUT}: {DISK_ERRORS[error.errno]}; send it elsewhere"
        name = f" ({error.filename})"
        return (f"{DISK_ERRORS[error.errno]}{name}; free some space, or set ALLATT_HOME to a folder that can be written, then "
                "run the same command again: finished work is kept")
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"cannot use {error.filename}: {error.strerror}; see what is there, and give another path if necessary"
    if isinstance(error, UnicodeEncodeError) and any("\ud800" <= c <= "\udfff" for c in str(error.object)):
        return f"the name {os.fsencode(error.object)!r} is not UTF-8; rename the file or folder"
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("allatt"):
        return f"this needs the package {error.name}; install it: pip install -e '.[notebooks]'"
    if type(error).__name__ == "OutOfMemoryError":  # torch's: recognized by its name, since torch may not be imported here
        return "the GPU's memory is too small; try --micro-rows 8, then 4 (the same results without dropout)"
    if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):  # torch's, on a CPU
        return "this model or its batch is larger than the memory of this machine; take a smaller one, or --micro-rows 8"
    return ""
