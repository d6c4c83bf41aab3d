"""The figures of notebook 08."""

import pytest
from samples import draw, legend_labels, lines

from allatt.config import ALL_ATTENTION, TRANSFORMER_XL
from allatt.figures.style import COLORS


def test_kept_heads_are_written_where_they_are_colored():
    maps = [{"title": "ours", "lambdas": [0.1, 0.2, 0.3], "kept": [[4, 3], [4, 1], [2, 0]], "heads": 4},
            {"title": "theirs", "lambdas": [0.5], "kept": [[8, 2]], "heads": 8}]
    ours, theirs = draw("08_kept_heads", {"maps": maps}).axes[:2]
    assert ours.images[0].get_array().tolist() == [[1, 1, 0.5], [0.75, 0.25, 0]], "a row per layer, a column per lambda"
    assert {text.get_position(): text.get_text() for text in ours.texts} == {
        (0, 0): "4", (1, 0): "4", (2, 0): "2", (0, 1): "3", (1, 1): "1", (2, 1): "0"}
    assert theirs.images[0].get_array().tolist() == [[1], [0.25]]
    assert [tick.get_text() for tick in ours.get_xticklabels()] == ["0.1", "0.2", "0.3"]
    assert [tick.get_text() for tick in ours.get_yticklabels()] == ["1", "2"]


def test_means_of_kept_heads_have_one_decimal():
    maps = [{"title": "ours", "lambdas": [0.1, 0.2], "kept": [[4.0, 3.5], [2.0, 1 / 3]], "heads": 4},
            {"title": "theirs", "lambdas": [0.5], "kept": [[8.0, 2.0]], "heads": 8}]
    ours, theirs = draw("08_kept_heads", {"maps": maps}).axes[:2]
    assert [text.get_text() for text in ours.texts] == ["4.0", "2.0", "3.5", "0.3"]
    assert [text.get_text() for text in theirs.texts] == ["8", "2"]


def blocks(ax):
    """The maps of an axis as lists of rows, and the numbers in them by place."""
    return [image.get_array().tolist() for image in ax.images], {text.get_position(): text.get_text() for text in ax.texts}


def labels(ax):
    return [tick.get_text() for tick in ax.get_xticklabels()]


def test_seeds_are_columns_and_their_agreement_is_below():
    panels = [{"title": "λ = 0.1", "kept": [[4, 1, 2], [3, 0, 2]], "agreement": [0.5, None, None, 2]},
              {"title": "mean over λ", "kept": [[4, 2, 1.5], [3, 1, 2]], "agreement": [0.25, -0.5, 1.0, 3]}]
    without_agreement = {"title": "λ = 0.2", "kept": [[1, 2, 3], [3, 3, 3]], "agreement": None}
    fig = draw("08_seeds", {"heads": 4, "seeds": [5, 6], "models": [
        {"kind": ALL_ATTENTION, "name": "ours", "panels": panels},
        {"kind": TRANSFORMER_XL, "name": "theirs", "panels": [without_agreement]}]})
    ours, theirs = fig.axes[:2]
    maps, numbers = blocks(ours)
    assert maps == [[[4, 3], [1, 0], [2, 2]], [[4, 3], [2, 1], [1.5, 2]]], "a row per layer, a column per seed"
    assert numbers == {(0.5, 1): "4", (0.5, 2): "1", (0.5, 3): "2", (1.5, 1): "3", (1.5, 2): "0", (1.5, 3): "2",
                       (3.1, 1): "4.0", (3.1, 2): "2.0", (3.1, 3): "1.5", (4.1, 1): "3.0", (4.1, 2): "1.0", (4.1, 3): "2.0"}
    assert [image.get_extent() for image in ours.images] == [[0, 2, 3.5, 0.5], [2.6, 4.6, 3.5, 0.5]], "numbers lie in cells"
    assert {image.get_clim() for image in ours.images} == {(0, 4)}
    assert labels(ours) == ["λ = 0.1\nρ = +0.50", "mean over λ\nρ = +0.25\n[-0.50, +1.00]"] and labels(theirs) == ["λ = 0.2"]
    assert ours.get_xlim() == theirs.get_xlim() and ours.get_ylim() == (3.5, 0.5), "the first layer is above"
    seeds = ours.child_axes[0]
    assert [tick.get_text() for tick in seeds.get_xticklabels()] == ["5", "6"] * 2
    assert list(seeds.get_xticks()) == [0.5, 1.5, 3.1, 4.1] and seeds.get_xlabel() == "seed"
    assert "agree" in fig.get_supxlabel()


def test_one_seed_has_nothing_to_agree_with():
    panels = [{"title": "λ = 0.1", "kept": [[4, 1, 2]], "agreement": None}]
    fig = draw("08_seeds", {"heads": 4, "seeds": [0], "models": [{"kind": ALL_ATTENTION, "name": "ours", "panels": panels}]})
    assert blocks(fig.axes[0])[0] == [[[4], [1], [2]]] and not fig.axes[0].child_axes and fig.get_supxlabel() == ""


@pytest.mark.parametrize("count, seeds, lengths", [
    (1, 2, [1]), (9, 2, [9]), (10, 2, [5, 5]), (19, 2, [7, 7, 5]), (6, 5, [6]), (8, 5, [4, 4]), (3, 40, [1, 1, 1])])
def test_many_lambdas_go_on_in_a_new_row(count, seeds, lengths):
    panels = [{"title": f"λ = {i}", "kept": [[4, 1, 2]] * seeds, "agreement": [0.5, 0.1, 0.9, 3]} for i in range(count)]
    fig = draw("08_seeds", {"heads": 4, "seeds": list(range(seeds)), "models": [
        {"kind": ALL_ATTENTION, "name": "ours", "panels": panels},
        {"kind": TRANSFORMER_XL, "name": "theirs", "panels": panels[:1]}]})
    rows = [ax for ax in fig.axes if ax.images]
    assert [len(ax.images) for ax in rows] == [*lengths, 1]
    shown = [label for ax in rows[:-1] for label in labels(ax)]
    assert [label.split("\n")[0] for label in shown] == [panel["title"] for panel in panels], "in order"
    assert [ax.get_ylabel() for ax in rows] == ["ours\nlayer"] * len(lengths) + ["theirs\nlayer"]
    assert ["[" in label for label in shown] == [False] * (count - 1) + [True], "that of the last block"


def test_survivors_and_pruned_heads_have_their_own_marks():
    heads = [{"seed": seed, "layer": layer, "head": head, "kept": head == 1, "persistent": 0.1 * layer + 0.01 * seed,
              "distance": 5.0 * head} for seed in (3, 4) for layer in (1, 2) for head in (1, 2)]
    pairs = {"all pairs": {"seeds": [0.25, 0.75], "interval": [0.5, 0.1, 0.9, 2]},
             "one layer": {"seeds": [1.0], "interval": [1.0, None, None, 1]}}
    fig = draw("08_survivors", {"heads": heads, "lam": 0.04, "pairs": {"persistent": pairs, "distance": pairs}})
    panels = zip(fig.axes[::2], ([13, 23, 14, 24], [5] * 4), ([13, 23, 14, 24], [10] * 4), strict=True)
    for ax, kept, pruned in panels:
        (dots,), (crosses,) = lines(ax, COLORS[ALL_ATTENTION]), lines(ax, COLORS["control"])
        assert dots.get_ydata().tolist() == pytest.approx(kept)
        assert crosses.get_ydata().tolist() == pytest.approx(pruned) and crosses.get_marker() == "x"
        assert [round(x) for x in dots.get_xdata()] == [round(x) for x in crosses.get_xdata()] == [1, 2, 1, 2]
        assert max(*dots.get_xdata()[:2] % 1) != max(*dots.get_xdata()[2:] % 1), "each seed has its own x in the layer"
        assert dots.get_xdata()[0] < crosses.get_xdata()[0] < dots.get_xdata()[2], "heads in order, and then the next seed"
        assert ax.get_ylim()[1] > max(kept + pruned), "no mark is cut off"
    for ax in fig.axes[1::2]:
        assert [line.get_ydata().tolist() for line in lines(ax, COLORS[ALL_ATTENTION])] == [[25, 75], [100]]
        (mean,) = ax.containers
        assert mean[0].get_ydata() == [50] and mean[2][0].get_segments()[0][:, 1].tolist() == pytest.approx([10, 90])
    assert [tick.get_text() for tick in fig.axes[3].get_xticklabels()] == ["all\npairs", "one\nlayer"]
    assert legend_labels(fig) == ["kept at λ = 0.04", "pruned"]


def test_one_of_each_has_its_frame_and_its_weights():
    fig = draw("08_one_of_each", {"kept": [[True, True], [False, True]], "tokens": ["a", "$"], "heads": [
        {"layer": 2, "head": 2, "kept": True, "weights": [0.5, 0.2], "share": 0.3},
        {"layer": 2, "head": 1, "kept": False, "weights": [0.1, 0.1], "share": 0.8}]})
    grid, kept, removed = fig.axes
    assert [patch.get_linewidth() > 2 for patch in grid.patches] == [False, False, True, True]
    assert len({patch.get_facecolor() for patch in grid.patches}) == 2
    assert [text.get_text() for text in grid.texts] == ["2", "1"]
    assert [bar.get_width() for bar in kept.patches] == [0.5, 0.2, 0.3]
    assert [bar.get_width() for bar in removed.patches] == [0.1, 0.1, 0.8]
    assert [ax.get_title(loc="left") for ax in (kept, removed)] == ["Head 2, kept", "Head 1, removed"]
    assert [tick.get_text() for tick in kept.get_yticklabels()] == ["a", "$", "persistent"]
