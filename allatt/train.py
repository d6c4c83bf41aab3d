"""The training loop: dense training and gated pruning are the same step, with and without the penalty.

    loss = cross-entropy (mean, nats per token) + lambda(step) * expected gates above 0

An optimizer step always sees `rows x segment` tokens: micro-batches and processes divide the rows and add up the
gradients. An interrupted run continues from its checkpoint exactly (bitwise on a CPU with the same number of threads).
"""

import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm import tqdm

from allatt.batches import Feed, Stream
from allatt.config import AllattError, RunConfig, check
from allatt.gates import HeadGates
from allatt.model import LanguageModel
from allatt.optimizer import lr_factor, make_optimizer
from allatt.segment_memory import Memory
from allatt.system.checkpoint import State, load_checkpoint, pack_optimizer, save_checkpoint, unpack_optimizer
from allatt.system.files import disk, write
from allatt.system.machine import LONG, OVER, Interrupted, Machine, asked_to_stop, rank_and_world
from allatt.system.messages import bars, note
from allatt.system.tensorboard import events

DIVERGED = "lower train.lr, train.clip, or with gates lam and gates.lr"
"""What to do if numbers are not finite."""


def backward(model: LanguageModel, input_BT: Tensor, target_BT: Tensor, memory: Memory, gate_LH: Tensor | None,
             micro_rows: int, precision: str) -> tuple[Tensor, Memory]:
    """Add the gradient of the mean loss over the given rows; returns that loss (a tensor) and the next memory.

    All micro-batches share one sample of the gates: its gradient is collected first, then sent to the logits once.
    """
    rows = len(input_BT)
    shared_LH = None if gate_LH is None else gate_LH.detach().requires_grad_()
    total, memories = torch.zeros((), device=input_BT.device), []
    for begin in range(0, rows, micro_rows):
        part = slice(begin, begin + micro_rows)
        remembered = Memory(memory.hidden_LBMD[:, part], memory.filled)
        with torch.autocast(input_BT.device.type, torch.bfloat16, enabled=precision == "bf16"):
            nll_BT, remembered = model.loss(input_BT[part], target_BT[part], remembered, shared_LH)
        loss = nll_BT.sum() / (rows * input_BT.shape[1])
        loss.backward()
        total, memories = total + loss.detach(), [*memories, remembered]
    if gate_LH is not None:
        gate_LH.backward(shared_LH.grad)
    return total, Memory(torch.cat([m.hidden_LBMD for m in memories], dim=1), memories[0].filled)


def all_reduce_gradients(parameters: list[nn.Parameter]) -> None:
    """Replace gradients by their mean over processes, each of which holds the mean over its equal share of the rows.

    In one message: many small ones would wait for each other.
    """
    _, world = rank_and_world()
    grads = [p.grad for p in parameters if p.grad is not None]
    if world > 1 and grads:
        flat = torch.cat([grad.flatten() for grad in grads])
        dist.all_reduce(flat)
        flat /= world
        for grad, part in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(part.view_as(grad))


class Trainer:
    """A run in training: weights, gates, optimizer, random generators, position in the text, memory."""

    def __init__(self, config: RunConfig, model: LanguageModel, gates: HeadGates | None, ids: np.ndarray, folder: Path,
                 machine: Machine):
        rank, world = rank_and_world()
        t = config.train
        check(t.rows % world == 0, f"{t.rows} rows do not divide among {world} processes; choose a number that does")
        self.config, self.model, self.gates, self.folder, self.machine = config, model, gates, folder, machine
        self.parameters = [*model.parameters(), *(gates.parameters() if gates is not None else ())]
        self.optimizer = make_optimizer(config, model, gates)
        self.stream = Stream(ids, t.rows, config.model.segment)
        share = t.rows // world
        self.feed = Feed(self.stream, slice(rank * share, (rank + 1) * share))
        self.log_every = machine.log_every or min(100, max(1, t.steps // 50))
        self.micro_rows = min(machine.micro_rows or share, share)
        self.memory = model.empty_memory(share)
        self.noise = torch.Generator().manual_seed(t.seed)
        self.step, self.seconds = 0, 0.0
        self.losses: list[Tensor] = []
        """Losses of the steps since the last line of metrics."""
        self.lines: list[str] = []
        """The lines of metrics.jsonl."""
        self.pending = 0.0
        """Seconds since the last line of metrics."""
        torch.manual_seed(t.seed * 1000 + rank)
        if model.distance_PD.is_cuda:
            torch.cuda.manual_seed(t.seed * 1000 + rank)

    def one_step(self) -> dict[str, Tensor | float]:
        """Take one optimizer step; returns its measurements. Losses stay tensors: reading them would wait for the device."""
        config, t = self.config, self.config.train
        device = self.model.distance_PD.device
        input_BT, target_BT, first = self.feed.batch(t.skip + self.step, device)
        if first:
            self.memory = self.model.empty_memory(len(input_BT))
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * lr_factor(t, self.step)
        gate_LH = self.gates.sample(self.noise) if self.gates is not None else None
        loss, self.memory = backward(self.model, input_BT, target_BT, self.memory, gate_LH, self.micro_rows, t.precision)
        if self.gates is not None:
            lam = self.gates.lambda_at(self.step, t.steps)
            (lam * self.gates.penalty()).backward()
        all_reduce_gradients(self.parameters)
        clipped = self.parameters if config.gates is not None and config.gates.clipped else self.model.parameters()
        norm = nn.utils.clip_grad_norm_(clipped, t.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.feed.prepare(t.skip + self.step, device)
        measured = {"loss": loss, "grad_norm": norm, "lr": t.lr * lr_factor(t, self.step - 1)}
        return measured | ({"lambda": lam} if config.gates is not None else {})

    def run(self) -> None:
        """Train to the last step, from the checkpoint if there is one; metrics go to metrics.jsonl in the folder.

        If a signal asks it to stop, it writes a checkpoint after the step and raises Interrupted.
        """
        rank, world = rank_and_world()
        state = load_checkpoint(self.folder, self.config.id, rank, world)
        if state is not None:
            self.restore(state)
        if rank == 0:
            write(self.folder / "metrics.jsonl", "".join(self.lines).encode())
            self.events = events(self.machine.tensorboard, f"{self.config.id} {self.config.name}", self.lines)
        steps = self.config.train.steps
        self.model.train()
        self.model.compiled = self.machine.compiles(steps)
        # Few updates: each is a message to the notebook, and some are lost if more than a thousand wait.
        bar = tqdm(total=steps, initial=self.step, desc=self.config.name, unit="step", leave=False, mininterval=0.5, delay=1,
                   disable=not self.machine.progress or rank > 0, file=bars())
        saved = since = time.monotonic()
        begun, told = self.step, False
        try:
            with bar, asked_to_stop() as asked:
                while self.step < steps:
                    measured = self.one_step()
                    self.losses.append(measured["loss"])
                    bar.update()
                    is_logged = self.step % self.log_every == 0 or self.step == steps
                    now = time.monotonic()
                    self.pending, since = self.pending + now - since, now
                    if is_logged:
                        line = self.metrics_line(measured)
                        # The first two lines include one-time work, such as compiling; they say nothing about the rest.
                        told = told or (rank == 0 and self.step - begun >= 3 * self.log_every and self.tell(line))
                        speed = f"{line['tokens_per_second']:,.0f} tokens/s"
                        bar.set_postfix_str(f"loss {line['loss']:.3f}, ppl {line['perplexity']:.1f}, {speed}", refresh=False)
                        if rank == 0:
                            self.log(line)
                    stop = self.stopped_by(asked)
                    if stop or (is_logged and self.step < steps and self.due(now - saved)):
                        save_checkpoint(self.folder, self.state(), self.config.id, rank, world)
                        saved = time.monotonic()
                    if stop:
                        raise Interrupted(stop, f"run {self.config.id} is saved at step {self.step:,}")
        finally:
            self.model.compiled = False  # the evaluation's shapes differ, and it is short

    def tell(self, line: dict) -> bool:
        """Say how long the rest of a long run takes, and what it costs. Always True."""
        left = (self.config.train.steps - self.step) * self.stream.rows * self.stream.segment / line["tokens_per_second"]
        if left >= LONG:
            speed = f"{line['tokens_per_second']:,.0f} tokens/s"
            note(f"run {self.config.id} ({self.config.name}): {speed}, {self.machine.forecast(left)} of training left")
        return True

    def log(self, line: dict) -> None:
        """Append a line to metrics.jsonl, and to TensorBoard's log. AllattError if the file has been removed."""
        self.lines.append(json.dumps(line) + "\n")
        path = self.folder / "metrics.jsonl"
        try:
            with disk(path), path.open("r+") as file:
                file.seek(0, 2)
                file.write(self.lines[-1])
        except FileNotFoundError:
            raise AllattError(f"{path} was removed while run {self.config.id} trained; run the same command again") from None
        self.events(line)

    def stopped_by(self, asked: list[int]) -> int:
        """The signal that ends training after this step; 0: none. Several processes decide together, every ten steps."""
        until = self.machine.until
        number = asked[0] if asked else OVER if until is not None and time.time() >= until else 0
        if rank_and_world()[1] == 1:
            return number
        if self.step % 10 and self.step < self.config.train.steps:
            return 0
        signal = torch.tensor(number, device=self.model.distance_PD.device)
        dist.all_reduce(signal, dist.ReduceOp.MAX)
        return int(signal)

    def state(self) -> State:
        """The state that the next step depends on, in the form that `restore` takes."""
        optimizer = pack_optimizer(self.optimizer)
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        if self.gates is not None:
            tensors |= {f"gates.{name}": value for name, value in self.gates.state_dict().items()}
        tensors |= {"memory": self.memory.hidden_LBMD, "rng.torch": torch.get_rng_state(),
                    "rng.noise": self.noise.get_state()} | optimizer.tensors
        if self.memory.hidden_LBMD.is_cuda:
            tensors["rng.cuda"] = torch.cuda.get_rng_state()
        tensors["losses"] = torch.stack(self.losses) if self.losses else torch.zeros(0)
        values = {"step": self.step, "seconds": self.seconds, "pending": self.pending, "filled": self.memory.filled,
                  "metrics": self.lines}
        return State(tensors, values | optimizer.values)

    def restore(self, state: State) -> None:
        """Continue from a state. AllattError if it does not fit this model and optimizer."""
        try:
            self._restore(state)
        except (LookupError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise AllattError(f"the checkpoint in {self.folder} does not fit run {self.config.id} ({reason}); remove the "
                              "folder to start the run again") from None

    def _restore(self, state: State) -> None:
        shapes = [(state.tensors["memory"], self.memory.hidden_LBMD)]
        trained = {name.split(".")[1] for name in state.tensors if name.startswith("optimizer.")}  # those that had a gradient
        shapes += [(state.tensors[f"optimizer.{index}.{name}"], parameter) for name in ("exp_avg", "exp_avg_sq")
                   for index, parameter in enumerate(p for group in self.optimizer.param_groups for p in group["params"])
                   if str(index) in trained]
        if any(theirs.shape != ours.shape for theirs, ours in shapes) or not isinstance(state.values["filled"], int):
            raise ValueError("memory or optimizer have another shape")
        tensors = state.tensors
        for module, prefix in ((self.model, "model."), (self.gates, "gates.")):
            if module is not None:
                module.load_state_dict({name.removeprefix(prefix): tensor for name, tensor in tensors.items()
                                        if name.startswith(prefix)})
        unpack_optimizer(self.optimizer, state)
        self.memory = Memory(tensors["memory"].to(self.memory.hidden_LBMD), state.values["filled"])
        torch.set_rng_state(tensors["rng.torch"])
        if "rng.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["rng.cuda"])
        self.noise.set_state(tensors["rng.noise"])
        self.step, self.seconds, self.pending = (state.values[name] for name in ("step", "seconds", "pending"))
        self.losses, self.lines = list(tensors["losses"].to(self.model.distance_PD.device)), list(state.values["metrics"])

    def metrics_line(self, measured: dict) -> dict:
        """One line of metrics, for the steps since the previous line. AllattError if the loss or gradient is not finite."""
        loss = torch.stack(self.losses).mean()
        if rank_and_world()[1] > 1:
            dist.all_reduce(loss)
        loss = loss.item() / rank_and_world()[1]
        norm = float(measured["grad_norm"])
        wrong = [f"the {name} is {value}" for name, value in (("loss", loss), ("gradient", norm)) if not math.isfinite(value)]
        check(not wrong, f"run {self.config.id} ({self.config.name}): {' and '.join(wrong)} at step {self.step}; {DIVERGED}")
        seconds, count = self.pending, len(self.losses)
        self.seconds, self.pending, self.losses = self.seconds + seconds, 0.0, []
        tokens = self.config.train.rows * self.config.model.segment
        line = {"step": self.step, "tokens": self.step * tokens, "loss": loss, "perplexity": math.exp(min(loss, 700)),
                "grad_norm": norm, "lr": measured["lr"],
                "tokens_per_second": count * tokens / max(seconds, 1e-9), "seconds": self.seconds}
        if self.gates is not None:
            line |= {"lambda": float(measured["lambda"]), "expected_open": self.gates.penalty().item(),  # strictly: above 0
                     "kept": ["".join("01"[int(k)] for k in layer) for layer in self.gates.kept()],
                     "logits": [[round(a, 3) for a in layer] for layer in self.gates.logit_LH.tolist()]}
        return line

    def due(self, seconds: float) -> bool:
        """Whether a checkpoint is due after `seconds`; process 0's clock decides for all."""
        due = torch.tensor(seconds >= self.machine.checkpoint_seconds, device=self.model.distance_PD.device)
        if rank_and_world()[1] > 1:
            dist.broadcast(due, 0)
        return bool(due)
