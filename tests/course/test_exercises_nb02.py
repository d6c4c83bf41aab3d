"""Wrong answers to the exercises of notebook 02."""

from allatt.course import nb02
from allatt.course.exercise import NOT_YET


def test_heads_below_the_floor():
    for wrong in (lambda ours, theirs: 79, lambda ours, theirs: 77, lambda ours, theirs: 78,  # right at the paper's size alone
                  lambda ours, theirs: 78.0 * ours.d_model, lambda ours, theirs: "many"):
        assert nb02.heads_below_the_floor.attempt(wrong).state == NOT_YET
