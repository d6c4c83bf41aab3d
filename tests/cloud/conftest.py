"""What the tests of clouds share: one thread, here as in the processes that they start: results are bitwise the same."""

import pytest
import torch


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
