"""Input embedding and output softmax that share their tables: one table, or the adaptive bands of the paper.

One table (no cutoffs), h the hidden state and E the table, one row per word:

    x = sqrt(d) E[w]                        log p(w) = log_softmax(E h + b)[w]

Adaptive (Grave et al. 2017, Baevski and Auli 2019; bands as in the released configuration). Band i has a table E_i of
width d_i = d / divisor^i and an input projection P_i (d_i, d). Words are sorted by frequency, so band 0, the shortlist,
holds the most frequent ones; C has one row per other band:

    x = sqrt(d) E_i[w] P_i
    head     = [E_0 (Q h) + b_0 ; C h + c]
    log p(w) = log_softmax(head)[w]                                             w in the shortlist
    log p(w) = log_softmax(head)[band i] + log_softmax(E_i (P_i h) + b_i)[w]    w in band i > 0

Cluster rows read h itself, not Q h, as in the released code and in fairseq; the first code of Dai et al. 2019 gives
them Q h, with the same counts but different weights. The shortlist's output projection Q (d, d) is not tied to P_0; that of
any other band is P_i itself. torch's AdaptiveLogSoftmaxWithLoss cannot tie its shortlist, and has no word biases in the
other bands.

Shape suffixes:
    B rows   T segment   d model width   N tokens of all rows (B T)   n tokens of one band
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from allatt.config import ModelConfig


class TiedSoftmax(nn.Module):
    """Embedding and softmax over `vocab` words that share their tables; bands start at `config.cutoffs`.

    Parameters: tables (one per band), bias (vocab); with cutoffs also projections P_i, output_projection Q, cluster_rows
    C and cluster_bias. AllattError if the cutoffs do not fit the vocabulary, or a band would have no width.
    """

    def __init__(self, config: ModelConfig, vocab: int):
        super().__init__()
        bands = config.bands(vocab)
        self.d, self.vocab = config.d_model, vocab
        self.bands = tuple((start, end) for start, end, _ in bands)
        """(first id, id after the last) of each band."""
        self.tables = nn.ParameterList(torch.empty(end - start, width) for start, end, width in bands)
        self.bias = nn.Parameter(torch.empty(vocab))
        if config.cutoffs:
            self.projections = nn.ParameterList(torch.empty(width, self.d) for _, _, width in bands)
            self.output_projection = nn.Parameter(torch.empty(self.d, self.d))
            self.cluster_rows = nn.Parameter(torch.empty(len(config.cutoffs), self.d))
            self.cluster_bias = nn.Parameter(torch.empty(len(config.cutoffs)))
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Draw all weights anew from torch's default generator.

        Tables U(-s, s), s = sqrt(1/d): released code for the shortlist; for the other bands our choice, together with
        projections N(0, 1/d_i). So a word starts with the same variance in every band: 1/3 for each of its inputs, and
        1/3 for its logit if h has variance 1. Cluster rows start like words of the shortlist, which they compete with.
        Biases 0.
        """
        bound = math.sqrt(1 / self.d)
        for table in self.tables:
            table.uniform_(-bound, bound)
        self.bias.zero_()
        if len(self.bands) > 1:
            for projection in self.projections:
                projection.normal_(0, math.sqrt(1 / projection.shape[0]))
            self.output_projection.normal_(0, math.sqrt(1 / self.d))
            self.cluster_rows.uniform_(-bound, bound)
            self.cluster_bias.zero_()

    def embed(self, ids_BT: Tensor, drop: float = 0.0) -> Tensor:
        """Ids (any shape) -> inputs x (..., d), in the dtype of the tables.

        drop: probability, in training only, that a word's row is 0 for the whole pass, wherever the word occurs; other
        rows grow by 1 / (1 - drop) (Gal and Ghahramani 2016). The output softmax sees the whole table.
        """
        ids_N = ids_BT.reshape(-1)
        keep = None
        if drop > 0 and self.training:
            keep = torch.empty(self.vocab, 1, dtype=self.tables[0].dtype, device=ids_BT.device)
            keep.bernoulli_(1 - drop).div_(1 - drop)
        if len(self.bands) == 1:
            x_Nd = self._rows(0, ids_N, keep)
        else:
            places = [_inside(ids_N, band) for band in self.bands]
            parts = [self._rows(i, ids_N[n], keep) @ self.projections[i] for i, n in enumerate(places)]
            # A matrix product under autocast is half precision; the sum that runs through the layers is not.
            by_band = torch.cat(parts).to(self.tables[0].dtype)
            x_Nd = torch.empty_like(by_band).index_copy(0, torch.cat(places), by_band)
        return (x_Nd * math.sqrt(self.d)).view(*ids_BT.shape, self.d)

    def _rows(self, band: int, ids_n: Tensor, keep: Tensor | None) -> Tensor:
        """Rows of a band's table for ids of that band, with word dropout."""
        rows = F.embedding(ids_n - self.bands[band][0], self.tables[band])
        return rows if keep is None else rows * keep[ids_n]

    def nll(self, h_BTd: Tensor, target_BT: Tensor) -> Tensor:
        """-log p(target), nats per token, of hidden states (..., d) and ids (...). float32, or float64 if h is.

        A band's softmax is computed only for the tokens whose target lies in it.
        """
        h_Nd, target_N = h_BTd.reshape(-1, self.d), target_BT.reshape(-1)
        head_N = target_N
        places = [_inside(target_N, band) for band in self.bands[1:]]
        for i, n in enumerate(places):
            head_N = head_N.index_fill(0, n, self.bands[0][1] + i)
        nll_N = F.cross_entropy(self._head(h_Nd), head_N, reduction="none")
        # A band without tokens is computed too: every weight then has a gradient, as data parallel training needs.
        for i, n in enumerate(places, start=1):
            word_n = target_N[n] - self.bands[i][0]
            nll_n = F.cross_entropy(self._tail(i, h_Nd.index_select(0, n)), word_n, reduction="none")
            nll_N = nll_N.index_add(0, n, nll_n)
        return nll_N.view(target_BT.shape)

    def log_probs(self, h: Tensor) -> Tensor:
        """Log-probabilities of all words, (..., vocab), of hidden states (..., d). float32, or float64 if h is."""
        head = F.log_softmax(self._head(h), dim=-1)
        shortlist = self.bands[0][1]
        parts = [head[..., :shortlist]]
        for i in range(1, len(self.bands)):
            parts.append(head[..., shortlist + i - 1, None] + F.log_softmax(self._tail(i, h), dim=-1))
        return torch.cat(parts, dim=-1)

    def _head(self, h: Tensor) -> Tensor:
        """Logits of the shortlist's words, and of the other bands if any."""
        if len(self.bands) == 1:
            return _wide(F.linear(h, self.tables[0], self.bias))
        words = F.linear(F.linear(h, self.output_projection), self.tables[0], self.bias[:self.bands[0][1]])
        return _wide(torch.cat([words, F.linear(h, self.cluster_rows, self.cluster_bias)], dim=-1))

    def _tail(self, band: int, h: Tensor) -> Tensor:
        """Logits of the words of a band after the shortlist, given that the word lies in it."""
        start, end = self.bands[band]
        return _wide(F.linear(F.linear(h, self.projections[band]), self.tables[band], self.bias[start:end]))


def _inside(ids_N: Tensor, band: tuple[int, int]) -> Tensor:
    """Positions of the ids that belong to a band."""
    return ((ids_N >= band[0]) & (ids_N < band[1])).nonzero().squeeze(1)


def _wide(logits: Tensor) -> Tensor:
    """The logits in float32 at least: a softmax over many words needs it, even if autocast made them half precision."""
    return logits if logits.dtype == torch.float64 else logits.float()
