"""What an exercise is: a number, a check, and a verdict in one line.

    @exercise("4.1")
    def gate(answer):
        expect(answer(0.0, 0.5) == 0.5, "Without noise, a logit of 0 is in the middle.")
        return "What a reader should remember."

In a notebook, `nb04.gate(my_gate)` prints "Exercise 4.1: not tried yet.", or "not yet" with a hint, or "right". It raises
nothing, so "Run all" runs to the end; the tests ask `attempt` for the verdict instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

RIGHT, NOT_YET, NOT_TRIED = "right", "not yet", "not tried yet"


class Verdict(NamedTuple):
    """One of RIGHT, NOT_YET and NOT_TRIED, with a hint or a final sentence if there is one."""

    state: str
    text: str = ""


class NotYet(Exception):
    """The answer is wrong; the message is a hint."""


class NotTried(Exception):
    """The answer is `...`, or a function whose body is `...`."""


class Exercise:
    """A check of the reader's answers, which are values or functions."""

    def __init__(self, number: str, test: Callable[..., str]):
        self.number, self.test, self.__doc__ = number, test, test.__doc__

    def __call__(self, *answers: Any) -> None:
        """Print the verdict on these answers in one line."""
        state, text = self.attempt(*answers)
        print(f"Exercise {self.number}: {state}.{' ' if text else ''}{text}")

    def attempt(self, *answers: Any) -> Verdict:
        """The verdict on these answers; an exception that they raise becomes a hint, too."""
        try:
            return Verdict(RIGHT, self.test(*map(_tried, answers)))
        except NotTried:
            return Verdict(NOT_TRIED)
        except NotYet as hint:
            return Verdict(NOT_YET, str(hint))
        except Exception as error:
            return Verdict(NOT_YET, f"Your answer raises {type(error).__name__}: {error}")


EXERCISES: dict[str, Exercise] = {}
"""By number, in the order in which the modules are imported."""


def exercise(number: str) -> Callable[[Callable[..., str]], Exercise]:
    """Decorator that makes a function the check of exercise `number` ("4.1": the first of notebook 04).

    The function takes the reader's answers, raises NotYet (through `expect`) with a hint if one is wrong, and returns what a
    right answer shows, in a sentence or two.
    """
    def register(test: Callable[..., str]) -> Exercise:
        EXERCISES[number] = Exercise(number, test)
        return EXERCISES[number]

    return register


def expect(condition: Any, hint: str) -> None:
    """Raise NotYet with this hint unless the condition holds."""
    if not condition:
        raise NotYet(hint)


def _tried(answer: Any) -> Any:
    """The answer, if there is one. A function is wrapped: if it returns nothing, it has not been written yet."""
    if answer is ... or answer is None:
        raise NotTried
    if not callable(answer) or isinstance(answer, type):
        return answer

    def called(*args: Any, **options: Any) -> Any:
        result = answer(*args, **options)
        if result is None or result is ...:
            raise NotTried
        return result

    return called
