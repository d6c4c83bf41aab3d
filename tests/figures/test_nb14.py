"""The figure of notebook 14."""

import pytest
from samples import draw, legend_labels


@pytest.mark.parametrize("x_transformers", [True, False])
def test_implementations_are_bars_relative_to_the_reference(x_transformers):
    speeds = {"reference": 1.0, "fast": 1.5, "fast, compiled": 1.75} | ({"x-transformers": 0.5} if x_transformers else {})
    part = {"rounds": 3, "variants": {name: {"median": 1 / x, "times_as_fast": x} for name, x in speeds.items()}}
    fig = draw("14_paths", {"paths": {"inference": part, "training": part}, "dropout": {"training": part}})
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["Inference", "Training", "Training, attention dropout 0.2"]
    for ax in fig.axes:
        assert [bar.get_width() for bars in ax.containers for bar in bars] == list(speeds.values())
        assert [tick.get_text() for tick in ax.get_yticklabels()] == list(speeds)
        assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first is at the top"
    assert legend_labels(fig) == ["the equations", "the fast path", "x-transformers"][:2 + x_transformers]
    assert len(draw("14_paths", {"paths": {"inference": part}}).axes) == 1
