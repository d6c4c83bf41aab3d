"""A small corpus for tests that train."""


def write_small_text(folder):
    """A corpus of some hundred lines of a few words, as a user's own folder holds it; returns the folder."""
    words = "the cat sat on a mat and saw the dog run to it . ".split()
    for split, lines in (("train", 120), ("valid", 20), ("test", 20)):
        text = "\n".join(" ".join(words[(i * 7 + j) % len(words)] for j in range(9)) for i in range(lines))
        (folder / f"wiki.{split}.tokens").write_text(f" = {split} = \n{text}\n")
    return folder
