"""Tests of an answer that the checks of several notebooks share."""

import math
from collections.abc import Callable
from typing import Any

from allatt.course.exercise import NotTried


def near(found: Any, right: float) -> bool:
    """Whether an answer equals this number, up to the fourth digit."""
    return math.isclose(float(found), right, rel_tol=1e-3, abs_tol=1e-6)


def nothing(answer: Callable[..., Any], *args: Any) -> bool:
    """Whether a reader's function returns None (or nan) for these arguments, for which there is no answer.

    Ask this only after a call that has an answer; until then, a function that returns None counts as not written yet.
    """
    try:
        return math.isnan(answer(*args))
    except NotTried:
        return True
