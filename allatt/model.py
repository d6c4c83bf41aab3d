"""All-attention LM and Transformer-XL, from one block.

Every tensor of a head has the head as its first index, so that removing heads is indexing (`allatt.prune`). Layers may
have different numbers of heads, and a layer may have none: it is then the identity plus its bias.

Shape suffixes:
    B rows   T segment   M memory   S = M + T   C = M + 1 distances   D d_model   L layers
    H heads that are there (of this layer)   K d_head   N persistent vectors a head   F feed-forward
"""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from allatt.attention import PATHS
from allatt.config import AllattError, ModelConfig, check, from_dict, to_dict
from allatt.kernels import persistent
from allatt.kernels.one_token import Prepared, prepare, single
from allatt.softmax import TiedSoftmax
from allatt.system.files import write


class Memory(NamedTuple):
    """What each layer remembers of earlier segments: the hidden states that entered it, without gradient."""

    hidden_LBMD: Tensor
    filled: int
    """How many of the M positions (the last ones) hold text; the rest are masked."""


class Cache(NamedTuple):
    """A memory for weights that do not change: keys and values, instead of the hidden states that they come from.

    The same outputs as with `Memory`, without projecting M positions anew for every segment.
    """

    past: tuple[tuple[Tensor, Tensor], ...]
    """Each layer's keys and values of earlier segments, (M, B, H, K) both: position first, so that they grow quickly."""
    filled: int
    """As in `Memory`."""
    fixed: tuple[tuple, ...]
    """Of each layer, what follows from the weights alone (`LanguageModel.fixed`)."""
    single: tuple[Prepared, ...]
    """The same, and the projections, prepared for segments of one token."""


Past = Tensor | tuple[Tensor, Tensor]
"""One layer's part of `Memory`, hidden states (B, M, D), or of `Cache`, keys and values."""
Kind = TypeVar("Kind", Memory, Cache)


class Block(nn.Module):
    """One layer: pre-norm attention over memory and segment, then, for Transformer-XL, a feed-forward.

        x_n = LN(x), m_n = LN(memory)                         one LayerNorm for both
        y   = x + dropout(Wo concat_h(g_h head_h) + b)        head_h: allatt.attention
        z   = y + dropout(W2 dropout(relu(W1 LN(y))))         Transformer-XL only
    """

    def __init__(self, config: ModelConfig, heads: int):
        super().__init__()
        D, K, N = config.d_model, config.d_head, config.persistent
        self.config, self.heads = config, heads
        self.norm = nn.LayerNorm(D)
        self.query_HKD = nn.Parameter(torch.empty(heads, K, D))
        self.key_HKD = nn.Parameter(torch.empty(heads, K, D))
        self.value_HKD = nn.Parameter(torch.empty(heads, K, D))
        self.position_HKD = nn.Parameter(torch.empty(heads, K, D))
        self.output_HKD = nn.Parameter(torch.empty(heads, K, D))
        self.output_bias_D = nn.Parameter(torch.zeros(D))
        if config.kind == "all-attention":
            self.content_bias_HK = nn.Parameter(torch.zeros(heads, K))
            self.position_bias_HK = nn.Parameter(torch.zeros(heads, K))
            self.persistent_key_HNK = nn.Parameter(torch.empty(heads, N, K))
            self.persistent_value_HNK = nn.Parameter(torch.empty(heads, N, K))
        else:
            self.feed_norm = nn.LayerNorm(D)
            self.feed_in = nn.Linear(D, config.feed_forward)
            self.feed_out = nn.Linear(config.feed_forward, D)

    def forward(self, x_BTD: Tensor, past: Past, filled: int, fixed: tuple, gate_H: Tensor | None,
                path: str) -> tuple[Tensor, Past]:
        """z (B, T, D), and the past as `attend` returns it. `fixed`: that of a `Cache`, or its `single`."""
        if self.heads:
            heads_BTHK, past = self.attend(x_BTD, past, filled, fixed, path)
            if gate_H is not None:
                heads_BTHK = heads_BTHK * gate_H[:, None]
            attended_BTD = heads_BTHK.flatten(2) @ self.output_HKD.flatten(0, 1) + self.output_bias_D
        else:
            attended_BTD = self.output_bias_D.expand_as(x_BTD)
        x_BTD = x_BTD + self.drop(attended_BTD)
        if self.config.kind == "transformer-xl":
            hidden_BTF = self.drop(self.feed_in(self.feed_norm(x_BTD)).relu())
            x_BTD = x_BTD + self.drop(self.feed_out(hidden_BTF))
        return x_BTD, past

    def attend(self, x_BTD: Tensor, past: Past, filled: int, fixed: tuple, path: str) -> tuple[Tensor, Past]:
        """The heads' outputs, (B, T, H, K), before gates and Wo; and the past.

        Hidden states come back as they are; keys and values continued by the segment's, without the oldest T.
        """
        if path == "single":
            return single(x_BTD, *past, fixed, filled)
        T, hidden = x_BTD.shape[1], isinstance(past, Tensor)
        past_k, past_v = self.recall(past) if hidden else past
        x_BTD = self.norm(x_BTD)
        q_BHTK = _project(x_BTD, self.query_HKD).permute(1, 2, 0, 3)
        k_SBHK = torch.cat([past_k, _project(x_BTD, self.key_HKD)])
        v_SBHK = torch.cat([past_v, _project(x_BTD, self.value_HKD)])
        if not hidden:
            past = k_SBHK[T:], v_SBHK[T:]
        drop = self.config.drop_attention if self.training else 0.0
        keys_BHSK, values_BHSK = k_SBHK.permute(1, 2, 0, 3), v_SBHK.permute(1, 2, 0, 3)
        heads_BHTK = PATHS[path](q_BHTK, keys_BHSK, values_BHSK, *fixed, filled, drop)
        return heads_BHTK.transpose(1, 2), past

    def recall(self, memory_BMD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (M, B, H, K) of the hidden states of a memory.

        A memory takes no gradient, but the LayerNorm's weights do. They move into the projection, W (gamma x + beta) =
        (W gamma) x + W beta, so that the backward pass goes to weights alone: with M = T, a sixth of the work of keys and
        values is saved.
        """
        x_BMD = F.layer_norm(memory_BMD, self.norm.normalized_shape, eps=self.norm.eps)
        return tuple(_project(x_BMD, weight_HKD * self.norm.weight, weight_HKD @ self.norm.bias)
                     for weight_HKD in (self.key_HKD, self.value_HKD))

    def drop(self, x_BTD: Tensor) -> Tensor:
        return _dropout(x_BTD, self.config.drop_projection, self.config.variational, self.training)


class LanguageModel(nn.Module):
    """All-attention LM (Sukhbaatar et al. 2019) or Transformer-XL (Dai et al. 2019), after `config.kind`.

    `path` chooses the attention: "fast", or "reference" (the equations, for tests and teaching). `compiled` sends blocks and
    softmax through torch.compile, which takes a while at the first pass and gives the same values but for rounding.
    Transformer-XL shares its position biases u and w between layers; All-attention has its own in each layer (the paper's
    counts follow from that).
    """

    def __init__(self, config: ModelConfig, vocab: int):
        super().__init__()
        self.config, self.vocab, self.path = config, vocab, "fast"
        self.compiled = False
        self.softmax = TiedSoftmax(config, vocab)
        self.distance_PD = nn.Parameter(torch.empty(config.positions, config.d_model))
        self.blocks = nn.ModuleList(Block(config, heads) for heads in config.heads_per_layer)
        if config.kind == "transformer-xl":
            self.content_bias_HK = nn.Parameter(torch.zeros(config.heads, config.d_head))
            self.position_bias_HK = nn.Parameter(torch.zeros(config.heads, config.d_head))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """The released code's uniform initialization, or Sukhbaatar et al.'s for the persistent vectors (`config.init`)."""
        c = self.config
        bound = math.sqrt(1 / (c.d_model * c.layers))
        nn.init.uniform_(self.distance_PD, -math.sqrt(1 / c.d_model), math.sqrt(1 / c.d_model))
        for block in self.blocks:
            for name, tensor in block.named_parameters(recurse=False):
                if name.endswith("HKD") or name.startswith("persistent"):
                    nn.init.uniform_(tensor, -bound, bound)
            if c.kind == "all-attention":
                if c.init == "unit":
                    nn.init.normal_(block.persistent_key_HNK, std=1 / math.sqrt(c.d_head))
                    nn.init.normal_(block.persistent_value_HNK, std=1 / math.sqrt(c.persistent))
                block.persistent_value_HNK.mul_(c.persistent_gain)

    def empty_memory(self, rows: int) -> Memory:
        """The memory before the first segment."""
        c = self.config
        return Memory(self.distance_PD.new_zeros(c.layers, rows, c.memory, c.d_model), 0)

    @torch.no_grad()
    def empty_cache(self, rows: int) -> Cache:
        """The memory before the first segment, where no weight will change: for evaluation and generation.

        Under autocast it holds half precision, as the projections do.
        """
        fixed = tuple(self.fixed(layer) for layer in range(self.config.layers))
        past = tuple((r.new_zeros(self.config.memory, rows, len(r), self.config.d_head),) * 2 for r, *_ in fixed)
        prepared = tuple(prepare(block.norm, block.query_HKD, block.key_HKD, block.value_HKD, *one)
                         for block, one in zip(self.blocks, fixed, strict=True))
        return Cache(past, 0, fixed, prepared)

    def forward(self, input_BT: Tensor, memory: Kind, gate_LH: Tensor | None = None) -> tuple[Tensor, Kind]:
        """The last layer's hidden states (B, T, D), and the memory for the next segment, of the same kind as `memory`.

        `gate_LH` multiplies the heads of each layer (`allatt.gates`); it needs a model with all its heads. AllattError
        for a `Cache` in training mode or with gradients on.
        """
        c, cached = self.config, isinstance(memory, Cache)
        check(gate_LH is None or c.kept is None, "gates need a model with all its heads; this one has heads removed")
        check(not cached or not (self.training or torch.is_grad_enabled()),
              "a cache of keys and values is for weights that stay as they are; call model.eval(), and use torch.no_grad()")
        x_BTD = self.softmax.embed(input_BT, c.drop_word)
        x_BTD = _dropout(x_BTD, c.drop_input, c.variational, self.training)
        path, fixed = self.path, memory.fixed if cached else None
        if cached and path == "fast" and input_BT.shape[1] == 1:
            path, fixed = "single", memory.single
        # A single token would be compiled anew for each value of `filled`, and is not worth it.
        run = _compiled(Block.forward) if self.compiled and path != "single" else Block.__call__
        remembered = []
        for layer, block in enumerate(self.blocks):
            entered_BTD, gate_H = x_BTD.detach(), None if gate_LH is None else gate_LH[layer]
            past = memory.past[layer] if cached else memory.hidden_LBMD[layer]
            known = fixed[layer] if cached else self.fixed(layer)
            x_BTD, past = run(block, x_BTD, past, memory.filled, known, gate_H, path)
            remembered.append(past if cached else entered_BTD)
        x_BTD = _dropout(x_BTD, c.drop_output, c.variational, self.training)
        T, M = input_BT.shape[1], c.memory
        filled = min(M, memory.filled + T)
        if cached:
            return x_BTD, memory._replace(past=tuple(remembered), filled=filled)
        hidden_LBMD = torch.stack([entered_BTD[:, max(0, T - M):] for entered_BTD in remembered]).to(memory.hidden_LBMD)
        if T < M:
            hidden_LBMD = torch.cat([memory.hidden_LBMD[:, :, T:], hidden_LBMD], dim=2)
        return x_BTD, Memory(hidden_LBMD, filled)

    def fixed(self, layer: int) -> tuple:
        """What a layer's attention takes from the weights alone: r, u, w, pk and pv (`allatt.attention`)."""
        block = self.blocks[layer]
        persistent = (None, None)
        if self.config.kind == "all-attention":
            persistent = (block.persistent_key_HNK, block.persistent_value_HNK)
        r_CE = F.linear(self.distance_PD[:self.config.memory + 1], block.position_HKD.flatten(0, 1))
        return r_CE.unflatten(-1, block.position_HKD.shape[:2]).transpose(0, 1), *self.biases(layer), *persistent

    def biases(self, layer: int) -> tuple[Tensor, Tensor]:
        """The position biases u and w (H, K) of a layer's heads."""
        if self.config.kind == "all-attention":
            return self.blocks[layer].content_bias_HK, self.blocks[layer].position_bias_HK
        if self.config.kept is None:
            return self.content_bias_HK, self.position_bias_HK
        heads = list(self.config.kept[layer])
        return self.content_bias_HK[heads], self.position_bias_HK[heads]

    def loss(self, input_BT: Tensor, target_BT: Tensor, memory: Kind,
             gate_LH: Tensor | None = None) -> tuple[Tensor, Kind]:
        """Negative log-likelihood of each target (B, T), in nats, and the memory for the next segment."""
        hidden_BTD, memory = self(input_BT, memory, gate_LH)
        # Sorting tokens into bands depends on the tokens, so that it cannot be compiled as one piece.
        one_band = len(self.softmax.bands) == 1
        nll = _compiled(TiedSoftmax.nll) if self.compiled and one_band else TiedSoftmax.nll
        return nll(self.softmax, hidden_BTD, target_BT), memory

    def parameter_counts(self) -> dict[str, int]:
        """Parameters of the body, the table of distances, and embedding and softmax: the paper's three parts."""
        softmax = sum(p.numel() for p in self.softmax.parameters())
        total = sum(p.numel() for p in self.parameters())
        positions = self.distance_PD.numel()
        return {"body": total - positions - softmax, "positions": positions, "softmax": softmax, "total": total}

    def save(self, path: Path) -> None:
        """Weights and config in one safetensors file, written whole or not at all; equal models give equal files."""
        # One key: the order of several would differ from file to file.
        about = {"model": json.dumps({"config": to_dict(self.config), "vocab": self.vocab})}
        write(path, save({name: tensor.contiguous() for name, tensor in self.state_dict().items()}, about))

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> LanguageModel:
        """The model of a file that `save` wrote, heads per layer included."""
        try:
            with safe_open(path, "pt", device=device) as file:
                about = json.loads(file.metadata()["model"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            model = cls(from_dict(ModelConfig, about["config"]), about["vocab"])
        except AllattError:
            raise
        except Exception as error:
            raise AllattError(f"{path} is not a model of allatt ({error})") from None
        model.to(device=device, dtype=tensors["distance_PD"].dtype).load_state_dict(tensors)
        return model


@functools.cache
def _compiled(function):
    """`function` compiled for the shapes that it is called with; blocks of one shape share what was compiled."""
    # Pruned layers differ in their heads, and each number of heads is a shape of its own.
    torch.compiler.assume_constant_result(persistent.has_flash)  # asks torch about the GPU, which cannot be traced
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
    return torch.compile(function, dynamic=False)


def _project(x: Tensor, weight_HKD: Tensor, bias_HK: Tensor | None = None) -> Tensor:
    """Projections (B, T, D) by head: (T, B, H, K)."""
    bias = None if bias_HK is None else bias_HK.flatten()
    return F.linear(x, weight_HKD.flatten(0, 1), bias).view(*x.shape[:2], *weight_HKD.shape[:2]).transpose(0, 1)


def _dropout(x_BTD: Tensor, drop: float, variational: bool, training: bool) -> Tensor:
    """Dropout; variational: one mask for all positions of the segment (Gal and Ghahramani 2016)."""
    if not training or drop == 0:
        return x_BTD
    if variational:
        return x_BTD * F.dropout(x_BTD.new_ones(len(x_BTD), 1, x_BTD.shape[-1]), drop)
    return F.dropout(x_BTD, drop)
