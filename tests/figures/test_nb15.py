"""The figure of notebook 15."""

from samples import draw, legend_labels


def test_kept_heads_by_step_and_parameters_by_part():
    sizes = {"all heads": {"attention": 400, "feed-forward": 800, "layer norms": 10},
             "after removal": {"attention": 200, "feed-forward": 800, "layer norms": 10}}
    fig = draw("15_own_model", {"kept": [4, 4, 3, 2], "heads": 4, "sizes": sizes})
    heads, parameters = fig.axes
    assert heads.lines[0].get_xydata().tolist() == [[1, 4], [2, 4], [3, 3], [4, 2]]
    assert [(round(bar.get_x() + bar.get_width() / 2), bar.get_y(), bar.get_height()) for bar in parameters.patches] == [
        (0, 0, 400), (0, 400, 800), (0, 1200, 10), (1, 0, 200), (1, 200, 800), (1, 1000, 10)]
    assert [text.get_text() for text in parameters.texts] == ["1,210", "1,010"]
    assert legend_labels(fig) == ["attention", "feed-forward", "layer norms"]
