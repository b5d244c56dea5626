"""LSTMs that do not see padding equal torch's on packed sequences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from refkd.models.recurrent import BiLSTM, backwards_order, final_states

LENGTH, WIDTH, HIDDEN = 9, 3, 4
lengths = st.lists(st.integers(1, LENGTH), min_size=1, max_size=4)


def prefix_mask(steps: list[int]) -> Tensor:
    return torch.arange(LENGTH) < torch.tensor(steps)[:, None]


def packed_twin(ours: BiLSTM, layers: int) -> nn.LSTM:
    """Return torch's bidirectional LSTM with the same weights."""
    twin = nn.LSTM(
        WIDTH, HIDDEN, layers, batch_first=True, bidirectional=True, dtype=torch.float64
    )
    weights = {}
    for k in range(layers):
        for name, value in ours.forwards[k].state_dict().items():
            weights[name.replace("l0", f"l{k}")] = value
        for name, value in ours.backwards[k].state_dict().items():
            weights[name.replace("l0", f"l{k}_reverse")] = value
    twin.load_state_dict(weights)
    return twin


@pytest.mark.parametrize("layers", [1, 2])
@given(steps=lengths)
def test_states_are_those_of_a_packed_bidirectional_lstm(layers: int, steps: list[int]) -> None:
    ours = BiLSTM(WIDTH, HIDDEN, layers=layers).double()
    x, mask = torch.randn(len(steps), LENGTH, WIDTH, dtype=torch.float64), prefix_mask(steps)
    packed = pack_padded_sequence(x, torch.tensor(steps), batch_first=True, enforce_sorted=False)
    out, (last, _) = packed_twin(ours, layers)(packed)
    expected = pad_packed_sequence(out, batch_first=True, total_length=LENGTH)[0]
    states = ours(x, mask)
    torch.testing.assert_close(states, expected)
    torch.testing.assert_close(final_states(states, mask), torch.cat([last[-2], last[-1]], dim=1))


@given(steps=lengths)
def test_reading_backwards_twice_is_reading_forwards(steps: list[int]) -> None:
    order = backwards_order(prefix_mask(steps))
    assert torch.equal(order.gather(1, order), torch.arange(LENGTH).expand(len(steps), -1))
    for row, count in zip(order.tolist(), steps, strict=True):
        assert row[:count] == list(reversed(range(count)))


def test_dropout_acts_between_layers_and_in_training_alone() -> None:
    x, mask = torch.randn(2, LENGTH, WIDTH), prefix_mask([LENGTH, 5])
    one, two = (BiLSTM(WIDTH, HIDDEN, layers=n, dropout=0.5) for n in (1, 2))
    assert torch.equal(one(x, mask), one(x, mask))
    assert not torch.equal(two(x, mask), two(x, mask))
    two.eval()
    assert torch.equal(two(x, mask), two(x, mask))
