"""What the checks of several notebooks ask of an answer."""

import math
from collections.abc import Callable
from typing import Any

from allatt.course.exercise import NotTried


def near(found: Any, right: float) -> bool:
    """Whether an answer is this number, up to the fourth digit."""
    return math.isclose(float(found), right, rel_tol=1e-3, abs_tol=1e-6)


def nothing(answer: Callable[..., Any], *args: Any) -> bool:
    """Whether a reader's function says None (or nan) for these arguments, where there is no answer.

    To be asked after a call that has one: a function that returns None is otherwise one that has not been written yet.
    """
    try:
        return math.isnan(answer(*args))
    except NotTried:
        return True
