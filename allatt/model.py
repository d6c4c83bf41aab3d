"""All-attention LM and Transformer-XL, from one block.

Every tensor of a head has the head as its first index, so removing heads is indexing (`allatt.prune`). Layers may
have different numbers of heads. A layer without heads is the identity plus its bias (and, in Transformer-XL, its
feed-forward).

Shape suffixes:
    B rows   T segment   M memory   S = M + T   C = M + 1 distances   D d_model   L layers
    H kept heads (of this layer)   K d_head   N persistent vectors per head   F feed-forward
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from allatt.attention import HeadVectors, reference
from allatt.config import ALL_ATTENTION, TRANSFORMER_XL, AllattError, ModelConfig, check, to_dict
from allatt.config_json import from_dict
from allatt.kernels import one_token
from allatt.kernels.band import fast
from allatt.kernels.compiled import compiled
from allatt.segment_memory import Cache, KeysValues, Memory, Past
from allatt.softmax import TiedSoftmax
from allatt.system.files import write

PATHS = {"fast": fast, "reference": reference}
"""Two ways to compute the attention: the same values and gradients."""


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
        if config.kind == ALL_ATTENTION:
            self.content_bias_HK = nn.Parameter(torch.zeros(heads, K))
            self.position_bias_HK = nn.Parameter(torch.zeros(heads, K))
            self.persistent_key_HNK = nn.Parameter(torch.empty(heads, N, K))
            self.persistent_value_HNK = nn.Parameter(torch.empty(heads, N, K))
        else:
            self.feed_norm = nn.LayerNorm(D)
            self.feed_in = nn.Linear(D, config.feed_forward)
            self.feed_out = nn.Linear(config.feed_forward, D)

    def forward(self, x_BTD: Tensor, memory_BMD: Tensor, filled: int, vectors: HeadVectors, gate_H: Tensor | None,
                path: str) -> Tensor:
        """z (B, T, D), from the segment's x and the hidden states of earlier segments."""
        past = self.project_memory(memory_BMD)
        heads_BTHK, _ = self.attend(x_BTD, past, filled, vectors, path)
        return self.finish(x_BTD, heads_BTHK, gate_H)

    def forward_cached(self, x_BTD: Tensor, past: KeysValues, filled: int, vectors: HeadVectors, gate_H: Tensor | None,
                       path: str) -> tuple[Tensor, KeysValues]:
        """z (B, T, D), from the segment's x and earlier keys and values; and the keys and values of the last M positions."""
        heads_BTHK, past = self.attend(x_BTD, past, filled, vectors, path)
        return self.finish(x_BTD, heads_BTHK, gate_H), past

    def attend(self, x_BTD: Tensor, past: KeysValues, filled: int, vectors: HeadVectors,
               path: str) -> tuple[Tensor, KeysValues]:
        """The heads' outputs (B, T, H, K), before gates and Wo; and the keys and values of the last M positions."""
        if not self.heads:
            return x_BTD.new_empty(*x_BTD.shape[:2], 0, self.config.d_head), past
        T, x_BTD = x_BTD.shape[1], self.norm(x_BTD)
        q_BHTK = _project(x_BTD, self.query_HKD).permute(1, 2, 0, 3)
        k_SBHK = torch.cat([past[0], _project(x_BTD, self.key_HKD)])
        v_SBHK = torch.cat([past[1], _project(x_BTD, self.value_HKD)])
        drop = self.config.drop_attention if self.training else 0.0
        k_BHSK, v_BHSK = k_SBHK.permute(1, 2, 0, 3), v_SBHK.permute(1, 2, 0, 3)
        heads_BHTK = PATHS[path](q_BHTK, k_BHSK, v_BHSK, *vectors, filled, drop)
        return heads_BHTK.transpose(1, 2), (k_SBHK[T:], v_SBHK[T:])

    def finish(self, x_BTD: Tensor, heads_BTHK: Tensor, gate_H: Tensor | None) -> Tensor:
        """z (B, T, D): the heads' outputs times their gates, Wo, the residual connection, and the feed-forward if any."""
        if gate_H is not None:
            heads_BTHK = heads_BTHK * gate_H[:, None]
        if self.heads:
            attended_BTD = heads_BTHK.flatten(2) @ self.output_HKD.flatten(0, 1) + self.output_bias_D
        else:
            attended_BTD = self.output_bias_D.expand_as(x_BTD)
        x_BTD = x_BTD + self.drop(attended_BTD)
        if self.config.kind == TRANSFORMER_XL:
            hidden_BTF = self.drop(self.feed_in(self.feed_norm(x_BTD)).relu())
            x_BTD = x_BTD + self.drop(self.feed_out(hidden_BTF))
        return x_BTD

    def project_memory(self, memory_BMD: Tensor) -> KeysValues:
        """Keys and values of the hidden states of a memory.

        A memory takes no gradient, but the LayerNorm's weights do. They move into the projection, W (gamma x + beta) =
        (W gamma) x + W beta, so the backward pass reaches weights only: with M = T, this saves a sixth of the work of keys
        and values.
        """
        if not self.heads:
            return (memory_BMD.new_empty(memory_BMD.shape[1], memory_BMD.shape[0], 0, self.config.d_head),) * 2
        x_BMD = F.layer_norm(memory_BMD, self.norm.normalized_shape, eps=self.norm.eps)
        return tuple(_project(x_BMD, weight_HKD * self.norm.weight, weight_HKD @ self.norm.bias)
                     for weight_HKD in (self.key_HKD, self.value_HKD))

    def drop(self, x_BTD: Tensor) -> Tensor:
        return _dropout(x_BTD, self.config.drop_projection, self.config.variational, self.training)


class LanguageModel(nn.Module):
    """All-attention LM (Sukhbaatar et al. 2019) or Transformer-XL (Dai et al. 2019), as `config.kind` says.

    `path` chooses the attention: "fast", or "reference" (the equations, for tests and teaching). `compiled` sends blocks and
    softmax through torch.compile, which slows the first pass and gives the same values except for rounding.
    Transformer-XL shares the position biases u and w between layers; each All-attention layer has its own (the paper's
    counts follow from that).
    """

    def __init__(self, config: ModelConfig, vocab: int):
        super().__init__()
        self.config, self.vocab, self.path = config, vocab, "fast"
        self.compiled = False
        self.softmax = TiedSoftmax(config, vocab)
        self.distance_PD = nn.Parameter(torch.empty(config.positions, config.d_model))
        self.blocks = nn.ModuleList(Block(config, heads) for heads in config.heads_per_layer)
        if config.kind == TRANSFORMER_XL:
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
            if c.kind == ALL_ATTENTION:
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
        """The memory before the first segment, if no weight will change: for evaluation and generation.

        Under autocast the cache is in half precision, like the projections.
        """
        vectors = tuple(self.head_vectors(layer) for layer in range(self.config.layers))
        shape = self.config.memory, rows
        past = tuple((v.r_HCK.new_zeros(*shape, len(v.r_HCK), self.config.d_head),) * 2 for v in vectors)
        prepared = tuple(one_token.prepare(block.norm, block.query_HKD, block.key_HKD, block.value_HKD, *v)
                         for block, v in zip(self.blocks, vectors, strict=True))
        return Cache(past, 0, vectors, prepared)

    def forward(self, input_BT: Tensor, memory: Past, gate_LH: Tensor | None = None) -> tuple[Tensor, Past]:
        """The last layer's hidden states (B, T, D), and the memory (or cache) for the next segment.

        `gate_LH` multiplies the heads of each layer (`allatt.gates`); it needs a model with all its heads. AllattError
        for a `Cache` in training mode or with gradients on.
        """
        c = self.config
        check(gate_LH is None or c.kept is None, "gates need a model with all its heads; this one has heads removed")
        check(isinstance(memory, Memory) or not (self.training or torch.is_grad_enabled()),
              "a cache of keys and values needs weights that do not change; call model.eval(), and use torch.no_grad()")
        x_BTD = self.softmax.embed(input_BT, c.drop_word)
        x_BTD = _dropout(x_BTD, c.drop_input, c.variational, self.training)
        remembered = []
        for layer in range(c.layers):
            x_BTD, kept = memory.run_layer(self, layer, x_BTD, None if gate_LH is None else gate_LH[layer])
            remembered.append(kept)
        x_BTD = _dropout(x_BTD, c.drop_output, c.variational, self.training)
        return x_BTD, memory.after(remembered, input_BT.shape[1])

    def head_vectors(self, layer: int) -> HeadVectors:
        """The inputs of a layer's attention that depend on the weights alone."""
        block = self.blocks[layer]
        r_CE = F.linear(self.distance_PD[:self.config.memory + 1], block.position_HKD.flatten(0, 1))
        r_HCK = r_CE.unflatten(-1, block.position_HKD.shape[:2]).transpose(0, 1)
        if self.config.kind == ALL_ATTENTION:
            return HeadVectors(r_HCK, *self.biases(layer), block.persistent_key_HNK, block.persistent_value_HNK)
        return HeadVectors(r_HCK, *self.biases(layer), None, None)

    def biases(self, layer: int) -> tuple[Tensor, Tensor]:
        """The position biases u and w (H, K) of a layer's heads."""
        if self.config.kind == ALL_ATTENTION:
            return self.blocks[layer].content_bias_HK, self.blocks[layer].position_bias_HK
        if self.config.kept is None:
            return self.content_bias_HK, self.position_bias_HK
        heads = list(self.config.kept[layer])
        return self.content_bias_HK[heads], self.position_bias_HK[heads]

    def loss(self, input_BT: Tensor, target_BT: Tensor, memory: Past,
             gate_LH: Tensor | None = None) -> tuple[Tensor, Past]:
        """Negative log-likelihood of each target (B, T), in nats, and the memory for the next segment."""
        hidden_BTD, memory = self(input_BT, memory, gate_LH)
        # Sorting tokens into bands depends on the tokens, so it cannot be compiled as one piece.
        one_band = len(self.softmax.bands) == 1
        nll = compiled(TiedSoftmax.nll) if self.compiled and one_band else TiedSoftmax.nll
        return nll(self.softmax, hidden_BTD, target_BT), memory

    def reread(self, config: ModelConfig) -> LanguageModel:
        """The same weights with another segment or memory, in evaluation mode; the memory must fit the table of distances."""
        model = LanguageModel(config, self.vocab).to(self.distance_PD)
        model.load_state_dict(self.state_dict())
        model.path = self.path
        return model.eval()

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
        """The model of a file that `save` wrote, heads per layer included, or of model.safetensors in a folder.

        AllattError if it is damaged or not a model: sizes are compared with the tensors before memory is taken for them.
        """
        path = path / "model.safetensors" if path.is_dir() else path
        try:
            with safe_open(path, "pt", device=device) as file:
                about = _about(file.metadata())
                shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (not a dict)
                config, limit = from_dict(ModelConfig, about["config"]), sum(map(math.prod, shapes.values()))
                # Before anything is built: a loop over a made-up number of layers would not end.
                for name, size in (("layers", config.layers), ("heads", config.heads), ("vocab", about["vocab"])):
                    check(isinstance(size, int) and 1 <= size <= limit,
                          f"{path} is not a model of allatt: it has {name} {size}, but only {limit:,} numbers")
                with torch.device("meta"):
                    expected = {name: list(tensor.shape) for name, tensor in cls(config, about["vocab"]).state_dict().items()}
                wrong = sorted(name for name in expected | shapes if expected.get(name) != shapes.get(name))
                check(not wrong, f"{path} is not a model of allatt: {', '.join(wrong[:3])} is missing, unknown or misshapen")
                tensors = {name: file.get_tensor(name) for name in shapes}
            types = {tensor.dtype for tensor in tensors.values()}
            check(len(types) == 1 and types <= {torch.float32, torch.float64, torch.bfloat16, torch.float16},
                  f"{path} is not a model of allatt: its tensors are {', '.join(sorted(map(str, types)))}")
            model = cls(config, about["vocab"]).to(device=device, dtype=types.pop())
            model.load_state_dict(tensors)
        except AllattError:
            raise
        except Exception as error:
            raise AllattError(f"{path} is not a model of allatt ({error})".splitlines()[0]) from None
        return model


def _about(metadata: dict[str, str]) -> dict:
    """Config and vocabulary from a file's metadata: one key, or two in files of older runs."""
    if "model" in metadata:
        return json.loads(metadata["model"])
    return {"config": json.loads(metadata["config"]), "vocab": int(metadata["vocab"])}


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
