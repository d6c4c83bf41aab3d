"""The figure of notebook 11."""

from samples import draw, seed_values


def test_rivals_show_losses_and_mean_heads_by_layer():
    data = {"loss": {"random heads": seed_values(0.1, 0.2), "even layers": seed_values(0.3)}, "of": 16, "heads": 8,
            "layers": {"random heads": [[8, 1], [7, 2]], "even layers": [[4, 5]]}}
    loss, layers = draw("11_rivals", data).axes
    assert [text.get_text() for text in loss.get_yticklabels()] == list(data["loss"])
    assert [text.get_text() for text in layers.texts] == ["7.5", "1.5", "4", "5"]
