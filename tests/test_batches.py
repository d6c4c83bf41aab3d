"""Batches of contiguous text: each id once per epoch, rows that go on from batch to batch, the same on every device."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from allatt.batches import Feed, Stream
from allatt.config import AllattError

SIZES = {"rows": st.integers(1, 7), "segment": st.integers(1, 9), "extra": st.integers(0, 200)}


@given(**SIZES)
def test_every_id_is_predicted_at_most_once_an_epoch_and_follows_its_input(rows, segment, extra):
    ids = np.arange(rows * segment + 1 + extra, dtype=np.int32)
    stream = Stream(ids, rows, segment)
    predicted = Counter()
    for step in range(stream.steps_per_epoch):
        inputs, targets, first = stream.batch(step)
        assert inputs.shape == targets.shape == (rows, segment) and inputs.dtype == targets.dtype == torch.int64
        assert torch.equal(targets, inputs + 1) and first == (step == 0)
        predicted.update(targets.flatten().tolist())
    assert set(predicted.values()) == {1}
    # Less than a segment a row, and less than one token a row, are left out.
    assert len(ids) - 1 - len(predicted) < rows * (segment + 1)


@given(**SIZES)
def test_rows_are_contiguous_from_batch_to_batch(rows, segment, extra):
    stream = Stream(np.arange(rows * segment + 1 + extra), rows, segment)
    read = torch.cat([stream.batch(step)[0] for step in range(stream.steps_per_epoch)], dim=1)
    assert torch.equal(read, read[:, :1] + torch.arange(read.shape[1]))


@given(step=st.integers(0, 10**6), **SIZES)
def test_a_batch_follows_from_its_step_alone(step, rows, segment, extra):
    ids = np.random.default_rng(0).integers(0, 256, rows * segment + 1 + extra).astype(np.uint8)
    used, fresh = Stream(ids, rows, segment), Stream(ids, rows, segment)
    for other in (3, 0, step + 1):
        used.batch(other)
    for a, b in zip(used.batch(step), fresh.batch(step % fresh.steps_per_epoch), strict=True):
        assert torch.equal(torch.as_tensor(a), torch.as_tensor(b))


def test_a_text_shorter_than_a_segment_a_row_is_one_clear_line():
    assert Stream(np.zeros(4 * 16 + 1, np.uint8), 4, 16).steps_per_epoch == 1
    with pytest.raises(AllattError, match="64 tokens, too few for 4 rows of one segment of 16; it needs 65"):
        Stream(np.zeros(4 * 16, np.uint8), 4, 16)
    with pytest.raises(AllattError, match="0 tokens, too few"):
        Stream(np.zeros(0, np.uint8), 1, 1)


def test_batches_are_copies_and_ids_stay_as_they_are():
    ids = np.arange(50, dtype=np.uint8)
    inputs, targets, _ = Stream(ids, 2, 5).batch(0)
    inputs += 7
    assert ids.tolist() == list(range(50)) and targets[0].tolist() == [1, 2, 3, 4, 5]
    assert inputs.is_contiguous() and targets.is_contiguous()


@pytest.fixture
def gpu(monkeypatch):
    """A stand-in for a GPU: a device of that type; what is sent to it stays where it is, and is noted."""
    class Device:
        type = "cuda"

    device, pinned, sent, to = Device(), [], [], torch.Tensor.to

    def pin_memory(tensor):
        pinned.append(tensor)
        return tensor

    def send(tensor, where, non_blocking=False):
        if where is not device:
            return to(tensor, where, non_blocking=non_blocking)
        sent.append((any(tensor is other for other in pinned), non_blocking))
        return tensor.clone()

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    monkeypatch.setattr(torch.Tensor, "to", send)
    return device, sent


def same(one, other) -> bool:
    return all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("rows", [slice(None), slice(0, 2), slice(2, 4)])
def test_some_rows_of_a_batch_are_those_of_the_whole(rows):
    stream = Stream(np.random.default_rng(0).integers(0, 256, 300).astype(np.uint8), 4, 9)
    for step in (0, 3, stream.steps_per_epoch):
        inputs, targets, first = stream.batch(step)
        assert same(stream.batch(step, rows), (inputs[rows], targets[rows], first))


@pytest.mark.parametrize("on_gpu", [False, True])
def test_what_a_feed_gives_follows_from_the_step_alone(gpu, on_gpu):
    stream, rows = Stream(np.random.default_rng(0).integers(0, 256, 300).astype(np.uint8), 4, 9), slice(1, 3)
    device = gpu[0] if on_gpu else torch.device("cpu")
    feed = Feed(stream, rows)
    # In order, prepared or not; another step than was prepared, as after a checkpoint is read; the same one twice.
    for step, prepared in ((0, 1), (1, 2), (2, None), (3, 4), (7, 8), (4, 5), (5, 5), (5, None), (5, 6)):
        assert same(feed.batch(step, device), stream.batch(step, rows)), step
        if prepared is not None:
            feed.prepare(prepared, device)


def test_a_gpu_gets_the_next_batch_while_it_works_and_nobody_waits(gpu, monkeypatch):
    device, sent = gpu
    stream, asked = Stream(np.zeros(300, np.uint8), 4, 9), []
    batch = stream.batch
    monkeypatch.setattr(stream, "batch", lambda step, rows: (asked.append(step), batch(step, rows))[1])
    feed = Feed(stream)
    feed.batch(0, device)
    feed.prepare(1, device)
    assert asked == [0, 1] and sent == [(True, True)] * 4, "input and target, each from pinned memory and without waiting"
    feed.batch(1, device)
    assert asked == [0, 1], "it was there already"
    feed.prepare(2, device)
    feed.prepare(3, device)
    assert len(feed._prepared) == 1, "no more than one batch is held"


def test_a_cpu_prepares_nothing(monkeypatch):
    stream = Stream(np.zeros(300, np.uint8), 4, 9)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pytest.fail("there is no GPU"))
    feed = Feed(stream)
    feed.batch(0, torch.device("cpu"))
    feed.prepare(1, torch.device("cpu"))
    assert feed._prepared == {}
