"""Batches of contiguous text: streams of token ids that are read side by side, segment by segment.

Shape suffixes:
    B rows   T segment
"""

import numpy as np
import torch

from allatt.config import check


class Stream:
    """A text as `rows` contiguous streams of equal length, read side by side in segments.

    Row r is the r-th part of the text, and its segments follow each other from batch to batch, so the memory of one batch
    is the context of the next. Each id is predicted at most once per epoch; ids that do not fill a segment are left out.
    A batch depends on its step alone, so a stream has no state, and only the batch itself is copied from `ids`.
    AllattError if the text is too short for one segment per row.
    """

    def __init__(self, ids: np.ndarray, rows: int, segment: int):
        self.ids, self.rows, self.segment = ids, rows, segment
        self.row_length = (len(ids) - 1) // rows
        self.steps_per_epoch = self.row_length // segment
        check(self.steps_per_epoch >= 1, f"the text has {len(ids):,} tokens, too few for {rows} rows of one segment of "
              f"{segment}; it needs {rows * segment + 1:,}: use fewer rows, a shorter segment or more text")

    def batch(self, step: int, rows: slice = slice(None)) -> tuple[torch.Tensor, torch.Tensor, bool]:
        """Input and target of a step, both (B, T) int64, and whether an epoch starts (the memory must then be empty).

        `rows` selects some of the B rows.
        """
        segment = step % self.steps_per_epoch
        starts = [row * self.row_length + segment * self.segment for row in range(self.rows)[rows]]
        both = torch.from_numpy(np.stack([self.ids[i:i + self.segment + 1] for i in starts]).astype(np.int64))
        return both[:, :-1].contiguous(), both[:, 1:].contiguous(), segment == 0


class Feed:
    """Batches of a stream (or of some of its rows) on the training device.

    On a GPU, `prepare` sends the next batch while the current step computes: from pinned memory and through the same queue
    as all other work, so neither side waits and no batch is overwritten early. The result is the same either way.
    """

    def __init__(self, stream: Stream, rows: slice = slice(None)):
        self.stream, self.rows = stream, rows
        self._prepared: dict[tuple[int, torch.device], tuple[torch.Tensor, torch.Tensor, bool]] = {}

    def batch(self, step: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, bool]:
        """`Stream.batch` of a step, on a device."""
        return self._prepared.pop((step, device), None) or self._send(step, device)

    def prepare(self, step: int, device: torch.device) -> None:
        """Send a step's batch ahead; call it once the work of the previous step is queued. On a CPU it does nothing."""
        if device.type == "cuda":
            self._prepared = {(step, device): self._send(step, device)}

    def _send(self, step: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, bool]:
        input_BT, target_BT, starts = self.stream.batch(step, self.rows)
        if device.type == "cuda":
            # Pinned memory may be released at once: torch keeps it until the copy is done.
            input_BT, target_BT = input_BT.pin_memory(), target_BT.pin_memory()
        return input_BT.to(device, non_blocking=True), target_BT.to(device, non_blocking=True), starts
