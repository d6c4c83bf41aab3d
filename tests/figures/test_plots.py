"""The figures of the results show their data, at its place and under its name."""

import json
import math

import pytest

from allatt.figures import COLORS, plots, style
from allatt.system.paths import repository

KINDS = ("all-attention", "transformer-xl")


@pytest.fixture(autouse=True)
def styled():
    with style():
        yield


def points(kind, shift=0.0):
    """A control and two pruned models."""
    sizes = ((0.0, 100, 50.0), (0.25, 75, 60.0), (0.5, 50, 80.0))
    return [{"sparsity": s, "body_parameters": n, "body_multiply_adds": 2 * n, "test_loss": ppl + shift,
             "test_perplexity": ppl + shift, "above": ppl - 50, "removed": 1 - n / 100, "lambda": s} for s, n, ppl in sizes]


def lines(ax, color):
    return [line for line in ax.lines if line.get_color() == color]


def labels(drawn):
    return [text.get_text() for text in drawn.legends[0].get_texts()]


def series(kind, shift, seeds):
    """A curve whose losses are logarithms of 50, 60 and 80, plus `shift`; two seeds lie at the same distance around it."""
    mean = [p | {"test_loss": math.log(p["test_loss"])} for p in points(kind, shift)]
    some = [[p | {"test_loss": p["test_loss"] + off, "above": p["above"] + off} for p in mean] for off in (-0.01, 0.01)]
    return {"baseline": mean[0] | {"test_loss": math.log(70.0)}, "mean": mean, "seeds": some if seeds == 2 else [mean]}


@pytest.mark.parametrize("seeds", [1, 2])
def test_perplexity_against_both_sizes(seeds):
    drawn = plots.perplexity_against_size({"models": {kind: series(kind, 5.0 * place, seeds)
                                                      for place, kind in enumerate(KINDS)}})
    for ax, factor in zip(drawn.axes, (1, 2), strict=True):
        for kind in KINDS:
            *thin, curve = [line for line in lines(ax, COLORS[kind]) if len(line.get_xdata()) > 1]
            marks = [line for line in lines(ax, COLORS[kind]) if len(line.get_xdata()) == 1]
            shift = 5.0 * KINDS.index(kind)
            assert list(curve.get_xdata()) == [50 * factor, 75 * factor, 100 * factor]
            assert list(curve.get_ydata()) == pytest.approx([80 + shift, 60 + shift, 50 + shift])
            assert len(thin) == (2 if seeds == 2 else 0), "a line a seed, where there are several"
            assert all(line.get_linewidth() < curve.get_linewidth() for line in thin)
            hollow = {(line.get_xdata()[0], round(line.get_ydata()[0], 6)) for line in marks if line.get_fillstyle() == "none"}
            assert hollow == {(100 * factor, 50 + shift), (100 * factor, 70)}, "what was not pruned is hollow"
        assert sorted(text.get_text() for text in ax.texts) == ["25%", "25%", "50%", "50%"]
    assert drawn.axes[0].get_xlabel() == "parameters of the body"
    assert drawn.axes[1].get_xlabel() == "multiply-adds a token"
    assert labels(drawn) == [f"{name}, {what}" for name in ("All-attention", "Transformer-XL")
                             for what in ("pruned", "control, λ = 0", "baseline")]


@pytest.mark.parametrize("seeds", [1, 2])
def test_loss_above_the_control(seeds):
    drawn = plots.loss_above_control({"models": {kind: series(kind, 0.0, seeds) for kind in KINDS}})
    for ax, x in zip(drawn.axes, ([0, 25, 50], [0, 25, 50]), strict=True):
        for kind in KINDS:
            *thin, line = lines(ax, COLORS[kind])
            assert len(thin) == (2 if seeds == 2 else 0)
            assert list(line.get_xdata()) == x and list(line.get_ydata()) == [0, 10, 30]


def row(*values):
    return {"values": list(values), "interval": [2.0, 1.0, 3.0, len(values)] if len(values) > 1 else None}


def test_gains_are_rows_of_seeds_with_their_interval():
    readings = {"As they are": {"10%": row(1.5, 2.5), "20%": row(0.5), "30%": row()}}
    readings["From its control"] = dict.fromkeys(readings["As they are"], row(1.0))
    left, right = plots.gains_at_equal_parameters({"readings": readings}).axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["10%", "20%", "30%"]
    assert [ax.get_title(loc="left") for ax in (left, right)] == list(readings)
    bars = [line for line in left.lines if list(line.get_xdata()) == [1.0, 3.0]]
    assert len(bars) == 1 and set(bars[0].get_ydata()) == {0}, "one interval, in the row of two seeds"
    dots = {round(y): sorted(line.get_xdata()) for line in left.lines if line.get_marker() == "o" for y in line.get_ydata()}
    assert dots == {0: [1.5, 2.5], 1: [0.5]}
    assert left.yaxis_inverted(), "the first row is on top"


def test_methods_show_heads_beside_losses_at_equal_heads():
    data = {"heads": {"all three": row(17, 19), "no warm-up": row(14, 15)}, "of": 32, "lam": 0.07,
            "off": {"all three": row(0.0, 0.0), "no warm-up": row()}}
    heads, loss = plots.three_methods(data).axes
    assert heads.get_xlim()[0] < 0 and heads.get_xlim()[1] > 32 and "0.07" in heads.get_title(loc="left")
    assert [text.get_text() for text in loss.texts] == ["outside of the curve"]
    assert sorted(x for line in heads.lines if line.get_marker() == "o" for x in line.get_xdata()) == [14, 15, 17, 19]


def test_stability_has_a_line_a_seed_and_a_name_a_variant():
    run = {"step": [1, 2, 3], "kept": [8, 6, 4], "above": [0.1, None, 0.3]}
    drawn = plots.stability({"of": 8, "variants": {"all three": [run, run], "none": [run, run]}})
    assert [len(ax.lines) for ax in drawn.axes] == [4, 5] and labels(drawn) == ["all three", "none"]


def test_rivals_show_losses_and_mean_heads_by_layer():
    data = {"loss": {"random heads": row(0.1, 0.2), "even layers": row(0.3)}, "of": 16, "heads": 8,
            "layers": {"random heads": [[8, 1], [7, 2]], "even layers": [[4, 5]]}}
    loss, layers = plots.rivals(data).axes
    assert [text.get_text() for text in loss.get_yticklabels()] == list(data["loss"])
    assert [text.get_text() for text in layers.texts] == ["7.5", "1.5", "4", "5"]


@pytest.mark.parametrize("seeds", [1, 3])
def test_learning_curves_of_seeds(seeds):
    curve = {"tokens": [1000, 2000], "loss": [5.0, 4.0]}
    data = {"curves": {kind: [curve] * seeds for kind in KINDS}, "labels": {kind: kind for kind in KINDS},
            "valid": {kind: [4.1] * seeds for kind in KINDS}, "gaps": [{"tokens": [1000, 2000], "loss": [0.1, place]}
                                                                       for place in range(seeds)]}
    left, right = plots.learning_curves(data).axes
    thick = max(right.lines, key=lambda line: (line.get_linewidth(), line.get_color() == COLORS["paper"]))
    assert list(thick.get_ydata()) == pytest.approx([0.1, (seeds - 1) / 2])
    assert len(right.lines) == 1 + (1 if seeds == 1 else seeds + 1)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("draw, y", [("12_characters", "test_bits"), ("13_words", "test_loss")])
def test_characters_and_words_against_size(draw, y, count):
    """One seed is the curve itself; of several, each is a thin line, and the curve is their mean."""
    shown = (lambda v: v) if y == "test_bits" else math.exp

    def curve(shift):
        return [p | {y: v + shift} for p, v in zip(points(""), (2.0, 2.5, 3.0), strict=True)]

    data = {"text": "some text", "models": {kind: {
        "baseline": points(kind)[0] | {y: 2.2 + place}, "mean": curve(place),
        "seeds": [curve(place + 0.1 * s) for s in range(count)]} for place, kind in enumerate(KINDS)}}
    ax, = plots.DRAW[draw](data).axes
    for place, kind in enumerate(KINDS):
        drawn = lines(ax, COLORS[kind])
        thin = [line for line in drawn if line.get_linewidth() < 1]
        assert [list(line.get_ydata())[-1] for line in thin] == pytest.approx(
            [shown(2 + place + 0.1 * s) for s in range(count)] if count > 1 else [])
        mean, *marks = drawn[len(thin):]
        assert list(mean.get_xdata()) == [50, 75, 100]
        assert list(mean.get_ydata()) == pytest.approx([shown(v + place) for v in (3.0, 2.5, 2.0)])
        hollow = [line.get_ydata()[0] for line in marks if line.get_fillstyle() == "none"]
        assert hollow == pytest.approx([shown(2.0 + place), shown(2.2 + place)]), "control and baseline"
    assert sorted(text.get_text() for text in ax.texts) == ["25%", "25%", "50%", "50%"]
    assert ax.get_title(loc="left").startswith("some text") and ("2 seeds" in ax.get_title(loc="left")) == (count > 1)


def test_kept_heads_are_written_where_they_are_colored():
    maps = [{"title": "ours", "lambdas": [0.1, 0.2, 0.3], "kept": [[4, 3], [4, 1], [2, 0]], "heads": 4},
            {"title": "theirs", "lambdas": [0.5], "kept": [[8, 2]], "heads": 8}]
    ours, theirs = plots.kept_heads_by_layer({"maps": maps}).axes[:2]
    assert ours.images[0].get_array().tolist() == [[1, 1, 0.5], [0.75, 0.25, 0]], "a row a layer, a column a lambda"
    assert {text.get_position(): text.get_text() for text in ours.texts} == {
        (0, 0): "4", (1, 0): "4", (2, 0): "2", (0, 1): "3", (1, 1): "1", (2, 1): "0"}
    assert theirs.images[0].get_array().tolist() == [[1], [0.25]]
    assert [tick.get_text() for tick in ours.get_xticklabels()] == ["0.1", "0.2", "0.3"]
    assert [tick.get_text() for tick in ours.get_yticklabels()] == ["1", "2"]


def test_mean_kept_heads_have_a_decimal():
    maps = [{"title": "ours", "lambdas": [0.1, 0.2], "kept": [[4.0, 3.5], [2.0, 1 / 3]], "heads": 4},
            {"title": "theirs", "lambdas": [0.5], "kept": [[8.0, 2.0]], "heads": 8}]
    ours, theirs = plots.kept_heads_by_layer({"maps": maps}).axes[:2]
    assert [text.get_text() for text in ours.texts] == ["4.0", "2.0", "3.5", "0.3"]
    assert [text.get_text() for text in theirs.texts] == ["8", "2"]


def test_seeds_are_lines_and_their_agreement_is_below():
    panels = [{"title": "λ = 0.1", "kept": [[4, 1, 2], [3, 0, 2]], "agreement": [0.5, None, None, 2]},
              {"title": "mean over λ", "kept": [[4, 2, 1], [3, 1, 2]], "agreement": [0.25, -0.5, 1.0, 3]}]
    lonely = [{"title": "λ = 0.2", "kept": [[1, 2, 3], [3, 3, 3]], "agreement": None}]
    drawn = plots.kept_heads_of_seeds({"heads": 4, "seeds": [5, 6], "models": [
        {"kind": KINDS[0], "name": "ours", "panels": panels}, {"kind": KINDS[1], "name": "theirs", "panels": lonely}]})
    one, mean, alone, empty = drawn.axes
    assert [list(line.get_ydata()) for line in lines(one, COLORS[KINDS[0]])] == [[4, 1, 2], [3, 0, 2]]
    for line in (*one.lines, *mean.lines, *alone.lines):
        assert [round(x) for x in line.get_xdata()] == [1, 2, 3]
    assert (one.get_xlabel(), mean.get_xlabel(), alone.get_xlabel()) == (
        "layer\nρ = +0.50", "layer\nρ = +0.25\n-0.50 to +1.00", "layer")
    assert [ax.get_title(loc="left") for ax in (one, mean, alone)] == ["λ = 0.1", "mean over λ", "λ = 0.2"]
    assert len(lines(alone, COLORS[KINDS[1]])) == 2 and not empty.axison
    assert labels(drawn) == ["seed 5", "seed 6"] and len({line.get_marker() for line in one.lines}) == 2


def test_survivors_and_pruned_heads_have_their_own_marks():
    heads = [{"seed": seed, "layer": layer, "head": head, "kept": head == 1, "persistent": 0.1 * layer + 0.01 * seed,
              "distance": 5.0 * head} for seed in (3, 4) for layer in (1, 2) for head in (1, 2)]
    pairs = {"all pairs": {"seeds": [0.25, 0.75], "interval": [0.5, 0.1, 0.9, 2]},
             "one layer": {"seeds": [1.0], "interval": [1.0, None, None, 1]}}
    drawn = plots.survivors({"heads": heads, "lam": 0.04, "pairs": {"persistent": pairs, "distance": pairs}})
    panels = zip(drawn.axes[::2], ([13, 23, 14, 24], [5] * 4), ([13, 23, 14, 24], [10] * 4), strict=True)
    for ax, kept, pruned in panels:
        (dots,), (crosses,) = lines(ax, COLORS["all-attention"]), lines(ax, COLORS["control"])
        assert dots.get_ydata().tolist() == pytest.approx(kept)
        assert crosses.get_ydata().tolist() == pytest.approx(pruned) and crosses.get_marker() == "x"
        assert [round(x) for x in dots.get_xdata()] == [round(x) for x in crosses.get_xdata()] == [1, 2, 1, 2]
        assert max(*dots.get_xdata()[:2] % 1) != max(*dots.get_xdata()[2:] % 1), "a seed has its own place in the layer"
        assert dots.get_xdata()[0] < crosses.get_xdata()[0] < dots.get_xdata()[2], "heads in order, and then the next seed"
        assert ax.get_ylim()[1] > max(kept + pruned), "no mark is cut off"
    for ax in drawn.axes[1::2]:
        assert [line.get_ydata().tolist() for line in lines(ax, COLORS["all-attention"])] == [[25, 75], [100]]
        (mean,) = ax.containers
        assert mean[0].get_ydata() == [50] and mean[2][0].get_segments()[0][:, 1].tolist() == pytest.approx([10, 90])
    assert [tick.get_text() for tick in drawn.axes[3].get_xticklabels()] == ["all\npairs", "one\nlayer"]
    assert labels(drawn) == ["kept at λ = 0.04", "pruned"]


@pytest.mark.parametrize("count", [1, 2])
def test_time_left_keeps_removal_and_gates_apart(count):
    table = [{"share": share, "gates": gates, "time": time, "ideal": 1 - share * (not gates), "best": 1.0}
             for share, gates, time in ((0, False, 1.0), (0.5, False, 0.6), (1, False, 0.0), (0.5, True, 1.02))]
    passes = {"inference": dict.fromkeys(KINDS, table), "training step": dict.fromkeys(KINDS, table)}
    drawn = plots.time_left({"shapes": {f"size {number}": passes for number in range(count)}})
    assert len(drawn.axes) == 2 * count
    for ax in drawn.axes:
        for kind in KINDS:
            ideal, removed, gates = lines(ax, COLORS[kind])
            assert list(ideal.get_ydata()) == [100, 50, 0] and ideal.get_linestyle() == "--"
            assert list(removed.get_ydata()) == [100, 60, 0] and removed.get_linestyle() == "None"
            assert list(gates.get_xdata()) == [50] and list(gates.get_ydata()) == [102] and gates.get_marker() == "+"


def test_memory_left_is_in_millions_of_bytes():
    rows = [{"share": 0.5, "weights": 3_000_000, "inference": 2_000_000, "training": 7_000_000}]
    drawn = plots.memory_left({"models": dict.fromkeys(KINDS, rows)})
    assert [lines(ax, COLORS[KINDS[0]])[0].get_ydata()[0] for ax in drawn.axes] == [3, 2, 7]
    assert [ax.get_title(loc="left") for ax in drawn.axes] == ["Weights", "Peak, inference", "Peak, training"]


def test_figure_1_has_measured_points_on_ideal_and_counted_lines():
    keys = ("name", "heads", "time", "ideal", "counted")
    rows = [dict(zip(keys, row, strict=True)) for row in
            (("all heads", 128, 1.0, 1.0, 1.0), ("lambda 0.02", 32, 0.4, 0.3, 0.2), ("no heads", 0, 0.1, 0.1, 0.05))]
    drawn = plots.figure_1_measured({"lists": {what: dict.fromkeys(KINDS, rows) for what in ("inference", "training")}})
    assert [ax.get_title(loc="left") for ax in drawn.axes] == ["Inference", "Training"]
    for ax in drawn.axes:
        for kind in KINDS:
            counted, ideal, full, pruned = lines(ax, COLORS[kind])
            assert list(counted.get_ydata()) == [100, 20, 5] and counted.get_linestyle() == ":"
            assert list(ideal.get_ydata()) == [100, 30, 10] and ideal.get_linestyle() == "--"
            assert list(full.get_ydata()) == [100] and full.get_fillstyle() == "none", "what was not pruned is hollow"
            assert list(pruned.get_xdata()) == [75, 100] and list(pruned.get_ydata()) == [40, 10]
        assert {text.get_text(): text.get_position()[0] for text in ax.texts} == {"λ =": 0, "0.02": 75}
    assert labels(drawn) == ["All-attention, measured", "Transformer-XL, measured", "ideal: straight from all heads to none",
                             "counted multiply-adds"]


@pytest.mark.parametrize("theirs", [True, False])
def test_ways_to_compute_are_bars_beside_the_reference(theirs):
    ways = {"reference": 1.0, "fast": 1.5, "fast, compiled": 1.75} | ({"x-transformers": 0.5} if theirs else {})
    part = {"rounds": 3, "variants": {name: {"median": 1 / x, "times_as_fast": x} for name, x in ways.items()}}
    drawn = plots.ways_to_compute({"paths": {"inference": part, "training": part}, "dropout": {"training": part}})
    assert [ax.get_title(loc="left") for ax in drawn.axes] == ["Inference", "Training", "Training, attention dropout 0.2"]
    for ax in drawn.axes:
        assert [bar.get_width() for bars in ax.containers for bar in bars] == list(ways.values())
        assert [tick.get_text() for tick in ax.get_yticklabels()] == list(ways)
        assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first is at the top"
    assert labels(drawn) == ["the equations", "the fast path", "x-transformers"][:2 + theirs]
    assert len(plots.ways_to_compute({"paths": {"inference": part}}).axes) == 1


def test_every_figure_is_registered_once_and_named_after_its_notebook():
    from allatt.figures import plots

    mine = [name for name in plots.DRAW if name[:2] in ("06", "07", "08", "09", "11")]
    assert sorted(mine) == ["06_stability", "06_three_methods", "07_above_control", "07_gains", "07_perplexity",
                            "08_kept_heads", "08_seeds", "08_survivors", "09_figure_1", "09_memory", "09_paths", "09_speed",
                            "11_rivals"]
    assert len(set(plots.DRAW.values())) == len(plots.DRAW)
    assert all(getattr(plots, draw.__name__) is draw for draw in plots.DRAW.values()), "to be had from allatt.figures.plots"


SIDECARS = sorted((repository() / "figures").glob("laptop*/[0-9]*.json"))


@pytest.mark.parametrize("path", SIDECARS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_committed_figure_can_be_drawn_from_its_sidecar_and_leads_to_its_runs(path):
    sidecar = json.loads(path.read_text())
    drawn = plots.DRAW[sidecar["name"]](sidecar["data"])
    assert any(ax.has_data() or ax.texts for ax in drawn.axes)
    assert sidecar["notebook"][:2] == path.name[:2] and sidecar["scale"] == path.parent.name
    assert {f"{run}.json" for run in sidecar["runs"]} <= {run.name for run in (path.parent / "runs").glob("*.json")}
