"""The map of the course."""

from allatt.course.layers import paper_layers


def test_four_layers_at_the_papers_size():
    data = paper_layers(kept=(0, 2, 3, 5, 6))
    assert [panel["title"] for panel in data["panels"]] == ["Transformer-XL", "5 of 8 heads", "All-attention", "5 of 8 heads"]
    assert [panel["below"] for panel in data["panels"]] == [
        "3.41M parameters", "2.92M parameters: 86%", "3.41M parameters", "2.13M parameters: 63%"]
    theirs, _, ours, pruned = data["panels"]
    assert ours["persistent"] == 2 * 8 * 2048 * 64 and ours["feed-forward"] == theirs["persistent"] == 0
    assert theirs["feed-forward"] == 2 * 512 * 2048 + 2048 + 512 and pruned["kept"] == (0, 2, 3, 5, 6)
