"""The moving picture of closing gates, its still, and the committed files."""

import pytest
from PIL import Image

from allatt.figures import animation
from allatt.figures.style import new_figure
from allatt.system.files import read_json
from allatt.system.paths import repository

OVERNIGHT = repository() / "figures" / "overnight"


@pytest.fixture
def record():
    """Eight moments of a model with two layers of two heads, of which one closes."""
    metrics = {"step": [10 * n for n in range(1, 9)], "lambda": [0.01 * n for n in range(8)],
               "logits": [[[2.0, 2.0 - n], [3.0, 2.0]] for n in range(8)]}
    return {"metrics": metrics}


def test_the_picture_moves_and_ends_with_the_last_gates(record, tmp_path):
    path = animation.moving_picture(record, tmp_path / "gates.gif")
    with Image.open(path) as picture:
        assert picture.n_frames == len(record["metrics"]["step"]), "the last frame is held"
        frames = []
        for place in (0, 7):
            picture.seek(place)
            frames.append(picture.convert("RGB").tobytes())
            duration = picture.info["duration"]
        assert frames[0] != frames[1] and duration > 1000


def test_the_still_shows_the_first_and_the_last_moment(record, tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(animation, "gates", lambda ax, logits, title: titles.append((title, logits[0][1])))
    animation.still(record, tmp_path / "gates.png")
    assert titles == [("step 10", 2.0), ("step 30", 0.0), ("step 60", -3.0), ("step 80", -5.0)]
    assert Image.open(tmp_path / "gates.png").width == 1200


def test_areas_are_probabilities():
    _, ax = new_figure()
    animation.gates(ax, [[0.0, -100.0], [100.0, -1.0]], "now")
    squares = [patch for patch in ax.patches if patch.get_facecolor()[3] > 0]
    assert [square.get_width() ** 2 / 0.94 ** 2 for square in squares] == pytest.approx([0.5, 0, 1, 0.2689], abs=1e-4)
    assert len({square.get_facecolor() for square in squares}) == 2
    assert [text.get_text() for text in ax.texts] == ["1", "1"] and ax.get_title() == "now: 2 of 4 open"


def test_what_is_committed_is_small_and_of_the_record():
    steps = read_json(OVERNIGHT / "runs" / f"{animation.RECORD}.json", "").get("metrics")["step"]
    gif, png = (OVERNIGHT / f"{animation.NAME}.{kind}" for kind in ("gif", "png"))
    with Image.open(gif) as picture:
        assert picture.n_frames == len(steps)
    assert gif.stat().st_size < 300_000 and png.stat().st_size < 300_000
