"""A small corpus and a small model for tests that train."""

SMALL = {"layers": 2, "heads": 2, "d_model": 8, "d_head": 4, "persistent": 4, "feed_forward": 6, "segment": 8, "memory": 8,
         "positions": 9}
"""Arguments of `ModelConfig`."""


def write_small_text(folder):
    """A corpus of some hundred lines of a few words, as a user's own folder holds it; returns the folder."""
    words = "the cat sat on a mat and saw the dog run to it . ".split()
    for split, lines in (("train", 120), ("valid", 20), ("test", 20)):
        text = "\n".join(" ".join(words[(i * 7 + j) % len(words)] for j in range(9)) for i in range(lines))
        (folder / f"wiki.{split}.tokens").write_text(f" = {split} = \n{text}\n")
    return folder
