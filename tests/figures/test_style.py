"""Style of the figures: meanings can be told apart, with any color vision, and the user's settings are kept."""

import numpy as np
import pytest

from allatt.config import KINDS
from allatt.figures.style import COLORS, CYCLE, MARKERS, figure_style, look, new_figure


def test_the_users_settings_come_back_after_the_style():
    import matplotlib

    before = dict(matplotlib.rcParams)
    with figure_style():
        assert not matplotlib.rcParams["axes.spines.top"] and not matplotlib.rcParams["axes.spines.right"]
        assert matplotlib.rcParams["font.size"] >= 11
        assert tuple(matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]) == CYCLE
    assert dict(matplotlib.rcParams) == before


def test_figures_need_no_closing():
    from matplotlib import pyplot

    for _ in range(3):
        new_figure(columns=2, rows=2)
    assert not pyplot.get_fignums()


def linear(color):
    """Linear RGB of a hexadecimal sRGB color."""
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
            for c in (int(color[i:i + 2], 16) / 255 for i in (1, 3, 5))]


# Rows: linear RGB -> linear RGB as seen without red or without green receptors (Vienot et al. 1999).
BLINDNESS = {"protanopia": ((0.1124, 0.8876, 0.0), (0.1124, 0.8876, 0.0), (0.0040, -0.0040, 1.0)),
             "deuteranopia": ((0.2928, 0.7072, 0.0), (0.2928, 0.7072, 0.0), (-0.0223, 0.0223, 1.0))}


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_the_two_models_differ_for_color_blind_eyes(blindness):
    seen = [np.array(BLINDNESS[blindness]) @ linear(COLORS[kind]) for kind in KINDS]
    assert np.abs(seen[0] - seen[1]).max() > 0.25


def test_meanings_differ_in_color_and_the_models_in_marker_too():
    assert len(set(COLORS.values())) == len(COLORS)
    assert len(set(MARKERS.values())) == len(MARKERS) and set(MARKERS) <= set(COLORS)
    assert look("paper", linestyle="--", marker="") == {"color": "#000000", "marker": "", "linestyle": "--"}
    assert look("context")["marker"] == ""
