"""All-attention LM and Transformer-XL, from one block.

Every tensor of a head has the head as its first index, so that removing heads is indexing (`allatt.prune`). Layers may
have different numbers of heads, and a layer may have none: it is then the identity plus its bias.

Shape suffixes:
    B rows   T segment   M memory   S = M + T   C = M + 1 distances   D d_model   L layers
    H heads that are there (of this layer)   K d_head   N persistent vectors a head   F feed-forward
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from allatt.attention import PATHS
from allatt.config import AllattError, ModelConfig, check, from_dict, to_dict
from allatt.softmax import TiedSoftmax


class Memory(NamedTuple):
    """What each layer remembers of earlier segments: the hidden states that entered it, without gradient."""

    hidden_LBMD: Tensor
    filled: int
    """How many of the M positions (the last ones) hold text; the rest are masked."""


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

    def forward(self, x_BTD: Tensor, memory_BMD: Tensor, filled: int, distance_CD: Tensor, bias: tuple[Tensor, Tensor],
                gate_H: Tensor | None, path: str) -> Tensor:
        if self.heads:
            heads_BTHK = self.attend(x_BTD, memory_BMD, filled, distance_CD, bias, path)
            if gate_H is not None:
                heads_BTHK = heads_BTHK * gate_H[:, None]
            attended_BTD = heads_BTHK.flatten(2) @ self.output_HKD.flatten(0, 1) + self.output_bias_D
        else:
            attended_BTD = self.output_bias_D.expand_as(x_BTD)
        x_BTD = x_BTD + self.drop(attended_BTD)
        if self.config.kind == "transformer-xl":
            hidden_BTF = self.drop(self.feed_in(self.feed_norm(x_BTD)).relu())
            x_BTD = x_BTD + self.drop(self.feed_out(hidden_BTF))
        return x_BTD

    def attend(self, x_BTD: Tensor, memory_BMD: Tensor, filled: int, distance_CD: Tensor, bias: tuple[Tensor, Tensor],
               path: str) -> Tensor:
        """The heads' outputs, (B, T, H, K), before gates and Wo."""
        K = self.config.d_head
        context_BSD = self.norm(torch.cat([memory_BMD, x_BTD], dim=1))
        queries_BTD = context_BSD[:, memory_BMD.shape[1]:]
        q_BHTK = F.linear(queries_BTD, self.query_HKD.flatten(0, 1)).unflatten(-1, (-1, K)).transpose(1, 2)
        k_BHSK = F.linear(context_BSD, self.key_HKD.flatten(0, 1)).unflatten(-1, (-1, K)).transpose(1, 2)
        v_BHSK = F.linear(context_BSD, self.value_HKD.flatten(0, 1)).unflatten(-1, (-1, K)).transpose(1, 2)
        r_HCK = F.linear(distance_CD, self.position_HKD.flatten(0, 1)).unflatten(-1, (-1, K)).transpose(0, 1)
        persistent = (None, None)
        if self.config.kind == "all-attention":
            persistent = (self.persistent_key_HNK, self.persistent_value_HNK)
        drop = self.config.drop_attention if self.training else 0.0
        return PATHS[path](q_BHTK, k_BHSK, v_BHSK, r_HCK, *bias, *persistent, filled, drop).transpose(1, 2)

    def drop(self, x_BTD: Tensor) -> Tensor:
        return _dropout(x_BTD, self.config.drop_projection, self.config.variational, self.training)


class LanguageModel(nn.Module):
    """All-attention LM (Sukhbaatar et al. 2019) or Transformer-XL (Dai et al. 2019), after `config.kind`.

    `path` chooses the attention: "fast", or "reference" (the equations, for tests and teaching). Transformer-XL shares its
    position biases u and w between layers; All-attention has its own in each layer (the paper's counts follow from that).
    """

    def __init__(self, config: ModelConfig, vocab: int):
        super().__init__()
        self.config, self.vocab, self.path = config, vocab, "fast"
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

    def forward(self, input_BT: Tensor, memory: Memory, gate_LH: Tensor | None = None) -> tuple[Tensor, Memory]:
        """The last layer's hidden states (B, T, D), and the memory for the next segment.

        `gate_LH` multiplies the heads of each layer (`allatt.gates`); it needs a model with all its heads.
        """
        c = self.config
        check(gate_LH is None or c.kept is None, "gates need a model with all its heads; this one has heads removed")
        x_BTD = self.softmax.embed(input_BT, c.drop_word)
        x_BTD = _dropout(x_BTD, c.drop_input, c.variational, self.training)
        distance_CD = self.distance_PD[:c.memory + 1]
        remembered = []
        for layer, block in enumerate(self.blocks):
            remembered.append(x_BTD.detach())
            gate_H = None if gate_LH is None else gate_LH[layer]
            x_BTD = block(x_BTD, memory.hidden_LBMD[layer], memory.filled, distance_CD, self.biases(layer), gate_H, self.path)
        x_BTD = _dropout(x_BTD, c.drop_output, c.variational, self.training)
        hidden_LBMD = torch.cat([memory.hidden_LBMD, torch.stack(remembered).to(memory.hidden_LBMD)], dim=2)
        kept_from = hidden_LBMD.shape[2] - c.memory
        filled = min(c.memory, memory.filled + input_BT.shape[1])
        return x_BTD, Memory(hidden_LBMD[:, :, kept_from:], filled)

    def biases(self, layer: int) -> tuple[Tensor, Tensor]:
        """The position biases u and w (H, K) of a layer's heads."""
        if self.config.kind == "all-attention":
            return self.blocks[layer].content_bias_HK, self.blocks[layer].position_bias_HK
        if self.config.kept is None:
            return self.content_bias_HK, self.position_bias_HK
        heads = list(self.config.kept[layer])
        return self.content_bias_HK[heads], self.position_bias_HK[heads]

    def loss(self, input_BT: Tensor, target_BT: Tensor, memory: Memory,
             gate_LH: Tensor | None = None) -> tuple[Tensor, Memory]:
        """Negative log-likelihood of each target (B, T), in nats, and the memory for the next segment."""
        hidden_BTD, memory = self(input_BT, memory, gate_LH)
        return self.softmax.nll(hidden_BTD, target_BT), memory

    def parameter_counts(self) -> dict[str, int]:
        """Parameters of the body, the table of distances, and embedding and softmax: the paper's three parts."""
        softmax = sum(p.numel() for p in self.softmax.parameters())
        total = sum(p.numel() for p in self.parameters())
        positions = self.distance_PD.numel()
        return {"body": total - positions - softmax, "positions": positions, "softmax": softmax, "total": total}

    def save(self, path: Path) -> None:
        """Weights and config in one safetensors file, written whole or not at all."""
        temporary = path.with_name(path.name + ".tmp")
        metadata = {"config": json.dumps(to_dict(self.config)), "vocab": str(self.vocab)}
        save_file({name: tensor.contiguous() for name, tensor in self.state_dict().items()}, temporary, metadata)
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> LanguageModel:
        """The model of a file that `save` wrote, heads per layer included."""
        try:
            with safe_open(path, "pt", device=device) as file:
                metadata = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            model = cls(from_dict(ModelConfig, json.loads(metadata["config"])), int(metadata["vocab"]))
        except AllattError:
            raise
        except Exception as error:
            raise AllattError(f"{path} is not a model of allatt ({error})") from None
        model.to(device=device, dtype=tensors["distance_PD"].dtype).load_state_dict(tensors)
        return model


def _dropout(x_BTD: Tensor, drop: float, variational: bool, training: bool) -> Tensor:
    """Dropout; variational: one mask for all positions of the segment (Gal and Ghahramani 2016)."""
    if not training or drop == 0:
        return x_BTD
    if variational:
        return x_BTD * F.dropout(x_BTD.new_ones(len(x_BTD), 1, x_BTD.shape[-1]), drop)
    return F.dropout(x_BTD, drop)
