"""Parts that several commands share: how a command is added, and the options of commands that train."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from allatt.config import check

if TYPE_CHECKING:
    from allatt.system.machine import Machine

SCALES = "smoke, laptop, overnight, gpu or paper"


def add_command(commands, name: str, handler: Callable, text: str) -> argparse.ArgumentParser:
    """Add a command with its help text; `handler` gets the parsed options and returns the exit status (None: 0)."""
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(handler=handler)
    return parser


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that train: the machine (see `machine`) and the output format."""
    parser.add_argument("--device", default="auto", help="auto, cuda or cpu (default: %(default)s)")
    parser.add_argument("--micro-rows", type=int, default=0, metavar="ROWS",
                        help="rows per pass if memory is short (default: all); dropout, if any, draws other masks")
    parser.add_argument("--compile", default="auto", help="on, off, or auto: torch.compile on a GPU (default: %(default)s)")
    parser.add_argument("--checkpoint-seconds", type=float, default=60.0, metavar="SECONDS",
                        help="time between two checkpoints (default: %(default)g)")
    parser.add_argument("--rate", type=float, default=0.0, metavar="PRICE",
                        help="price of this machine per hour: a long run says what the rest of it costs")
    parser.add_argument("--tensorboard", default="", metavar="FOLDER", help="log for TensorBoard, too, in a folder per run")
    parser.add_argument("--json", action="store_true", help="print JSON")


def machine(options: argparse.Namespace) -> Machine:
    """The Machine that the options of `add_training_options` describe."""
    from allatt.system.machine import Machine
    from allatt.system.tensorboard import verify

    verify(options.tensorboard)
    check(options.micro_rows >= 0, f"--micro-rows is {options.micro_rows}; it must be 0 (all) or more")
    return Machine(options.device, options.micro_rows, options.compile, checkpoint_seconds=options.checkpoint_seconds,
                   rate=options.rate, tensorboard=options.tensorboard, progress=sys.stderr.isatty())
