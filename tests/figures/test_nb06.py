"""The figures of notebook 06."""

from samples import draw, legend_labels, seed_values


def test_variants_show_heads_and_losses_at_equal_heads():
    data = {"heads": {"all three": seed_values(17, 19), "no warm-up": seed_values(14, 15)}, "of": 32, "lam": 0.07,
            "off": {"all three": seed_values(0.0, 0.0), "no warm-up": seed_values()}}
    heads, loss = draw("06_three_methods", data).axes
    assert heads.get_xlim()[0] < 0 and heads.get_xlim()[1] > 32 and "0.07" in heads.get_title(loc="left")
    assert [text.get_text() for text in loss.texts] == ["outside of the curve"]
    assert sorted(x for line in heads.lines if line.get_marker() == "o" for x in line.get_xdata()) == [14, 15, 17, 19]


def test_training_has_a_line_per_seed_and_a_name_per_variant():
    run = {"step": [1, 2, 3], "kept": [8, 6, 4], "above": [0.1, None, 0.3]}
    fig = draw("06_stability", {"of": 8, "variants": {"all three": [run, run], "none": [run, run]}})
    assert [len(ax.lines) for ax in fig.axes] == [4, 5] and legend_labels(fig) == ["all three", "none"]
