"""The options that commands share."""

import argparse

import pytest

from allatt.cli.options import add_command, add_training_options, machine
from allatt.config import AllattError


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser()
    add_training_options(parser)
    return parser


def test_options_become_a_machine(parser):
    chosen = machine(parser.parse_args(["--device", "cpu", "--micro-rows", "4", "--compile", "off"]))
    assert (chosen.device, chosen.micro_rows, chosen.compile) == ("cpu", 4, "off")
    default = machine(parser.parse_args([]))
    assert (default.device, default.micro_rows, default.compile) == ("auto", 0, "auto")
    with pytest.raises(AllattError, match="--micro-rows is -1; it must be 0"):
        machine(parser.parse_args(["--micro-rows", "-1"]))


def test_a_command_leads_to_its_handler(parser):
    commands = parser.add_subparsers()
    add_command(commands, "go", len, "goes")
    assert parser.parse_args(["go"]).handler is len
