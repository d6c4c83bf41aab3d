"""Figures of notebook 00: the text and its tokens."""

from itertools import pairwise

from matplotlib.figure import Figure

from allatt.config import ALL_ATTENTION
from allatt.figures.style import COLORS, figure, new_figure


@figure("00_zipf", alt=
        "Counts of words on two logarithmic axes: a nearly straight line falls from the most frequent word to the "
        "rarest. Shades of blue are the bands of the adaptive softmax; the key has their shares of the text.")
def word_counts_by_rank(data: dict) -> Figure:
    """Counts of words by rank, and the bands of the adaptive softmax with their shares of the text."""
    fig, ax = new_figure()
    ax.loglog(data["ranks"], data["counts"], color=COLORS[ALL_ATTENTION], label="words of the training text")
    ranks = data["ranks"][0], data["ranks"][-1]
    ax.plot(ranks, [data["counts"][0] / rank for rank in ranks], color=COLORS["control"], linestyle="--",
            label="1 / rank")
    ax.set(xlabel="rank of the word", ylabel="times seen", xlim=ranks, ylim=(0.7, None))
    for band, (first, last) in enumerate(pairwise(data["edges"])):
        ax.axvspan(max(first, 1), last, color=COLORS["persistent"], alpha=0.08 + 0.12 * band, linewidth=0)
    shares = [f"{100 * share:.1f}%" for share in data["coverage"]]
    ax.legend(title=f"share of the text in each band: {', '.join(shares)}", loc="lower left", alignment="left")
    return fig


@figure("00_tokens", alt=
        "Left: bars with the tokens per word of characters, subwords and words. Right: the share of unknown words in a "
        "new text falls as the vocabulary grows.")
def tokens_per_word(data: dict) -> Figure:
    """Tokens per word for each kind of token; share of unknown words in a new text, by the size of the vocabulary."""
    fig, (length, unknown) = new_figure(columns=2, height=3.8)
    bars = length.bar(list(data["kinds"]), list(data["kinds"].values()), color=COLORS[ALL_ATTENTION], width=0.6)
    length.bar_label(bars, fmt="{:.2f}", padding=3)
    length.set(ylabel="tokens per word", title="How long a text is")
    length.grid(axis="x", visible=False)
    length.margins(y=0.12)
    percent = [100 * share for share in data["unknown"]]
    unknown.semilogx(data["sizes"], percent, color=COLORS[ALL_ATTENTION], marker="o")
    for i in (0, 2, len(data["cuts"]) - 1):
        unknown.annotate(f"cut {data['cuts'][i]}", (data["sizes"][i], percent[i]), (4, 7),
                         textcoords="offset points")
    unknown.set(xlabel="words in the vocabulary", ylabel="unknown (%)", title="Validation text as words",
                ylim=(0, 1.2 * max(percent)))
    unknown.margins(x=0.12)
    return fig
