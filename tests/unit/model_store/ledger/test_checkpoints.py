"""Checkpoints: what is written is read, loads into nn.Linear, and nothing else is taken for one."""

from __future__ import annotations

import json
import pickle
import struct
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save

from handler.models.stack import Stack, Statistics
from handler.rows.model_card import Feature, ModelCard
from model_store.errors import CorruptObjectError, NewerFormatError, StoreError
from model_store.ledger.checkpoints import read_stack, write_checkpoint, write_statistics

CARD = ModelCard("price", (Feature("area", transform="log10"), Feature("kind", "categorical", levels=("a", "b", "c"))))


def stack_of(m: int, card: ModelCard = CARD) -> Stack:
    generator = torch.Generator().manual_seed(0)
    d, k, p = len(card.columns), len(card.features), len(card.columns) + card.bias

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    statistics = Statistics(draw(m, k), draw(m, k), draw(m, k), draw(m, d), draw(m), draw(m, p, p), draw(m))
    return Stack(card, draw(m, d), draw(m) if card.bias else None, statistics)


@pytest.mark.parametrize("card", [CARD, replace(CARD, bias=False)])
@pytest.mark.parametrize("m", [1, 5])
def test_read_stack_gives_what_was_written(card: ModelCard, m: int) -> None:
    stack = stack_of(m, card)
    found = read_stack(write_checkpoint(stack), write_statistics(stack))
    assert found.card == card and torch.equal(found.weight_md, stack.weight_md)
    assert (found.bias_m is None) == (stack.bias_m is None)
    assert found.statistics is not None and stack.statistics is not None
    for name, tensor in vars(stack.statistics).items():
        read = getattr(found.statistics, name)
        assert read is None if tensor is None else torch.equal(read, tensor)


def test_statistics_may_leave_out_what_was_switched_off() -> None:
    stack = stack_of(2)
    assert stack.statistics is not None
    small = replace(
        stack, statistics=replace(stack.statistics, inverse_cross_product_mpp=None, residual_variance_m=None)
    )
    found = read_stack(write_checkpoint(small), write_statistics(small)).statistics
    assert found is not None and found.inverse_cross_product_mpp is None
    assert write_statistics(replace(stack, statistics=None)) is None


def test_checkpoint_of_one_model_loads_into_nn_linear_strictly() -> None:
    stack = stack_of(1)
    linear = torch.nn.Linear(3, 1)
    assert str(linear.load_state_dict(load(write_checkpoint(stack)))) == "<All keys matched successfully>"
    x_nd = torch.randn(4, 3)
    torch.testing.assert_close(linear(x_nd), stack.linear(0)(x_nd))


def test_equal_stacks_give_equal_bytes() -> None:
    wide = stack_of(8)
    assert wide.bias_m is not None
    view = Stack(CARD, wide.weight_md.T.contiguous().T[::2], wide.bias_m[::2])
    copy = Stack(CARD, wide.weight_md[::2].clone(), wide.bias_m[::2].clone())
    assert write_checkpoint(view) == write_checkpoint(copy)


def test_write_refuses_shapes_that_do_not_fit_the_card() -> None:
    with pytest.raises(StoreError, match=r"weight is \(2, 4\) float64, and its model card has 3 columns"):
        write_checkpoint(replace(stack_of(2), weight_md=torch.zeros(2, 4, dtype=torch.float64)))
    with pytest.raises(StoreError, match=r"it holds \['weight'\], and its model card wants \['bias', 'weight'\]"):
        write_checkpoint(replace(stack_of(2), bias_m=None))


HEADER_OF_A_GIGABYTE = struct.pack("<Q", 1 << 30) + b"{}"
OVERLAPPING = json.dumps({"weight": {"dtype": "F64", "shape": [9, 9], "data_offsets": [0, 8]}}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"\x00" * 100,
        b"\xff" * 100,
        HEADER_OF_A_GIGABYTE,
        struct.pack("<Q", len(OVERLAPPING)) + OVERLAPPING + b"\x00" * 8,
        pickle.dumps({"weight": [1.0]}),
        save({"weight": torch.zeros(1, 3, dtype=torch.float64), "bias": torch.zeros(1, dtype=torch.float64)}),
        save({"weight": torch.zeros(1, 3)}, metadata={"model_card": CARD.to_json()}),
        save({"weight": torch.zeros(1, 3), "bias": torch.zeros(1)}, metadata={"model_card": CARD.to_json()}),
        save({"weight": torch.zeros(3)}, metadata={"model_card": replace(CARD, bias=False).to_json()}),
        save({"weight": torch.zeros(1, 3)}, metadata={"model_card": "[]"}),
    ],
)
def test_read_stack_names_what_is_not_a_checkpoint(data: bytes) -> None:
    with pytest.raises(CorruptObjectError, match=r"^blobs/x is corrupt: [^\n]+$"):
        read_stack(data, name="blobs/x")


@given(st.data())
def test_read_stack_survives_any_damage(data: st.DataObject) -> None:
    whole = bytearray(write_checkpoint(stack_of(2)))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    try:
        read_stack(bytes(whole[: data.draw(st.integers(0, len(whole)))]), name="blobs/x")
    except CorruptObjectError as exc:
        assert "\n" not in str(exc)


def test_newer_formats_are_refused() -> None:
    stack = stack_of(1)
    card = CARD.to_json().replace('"format": 1', '"format": 3')
    tensors = {"weight": stack.weight_md, "bias": stack.bias_m}
    with pytest.raises(CorruptObjectError, match="format 3, and this gridline reads up to 2"):
        read_stack(save(tensors, metadata={"model_card": card}))
    with pytest.raises(NewerFormatError, match="the statistics of checkpoint has format 2"):
        read_stack(write_checkpoint(stack), save({"fill": torch.zeros(1)}, metadata={"format": "2"}))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"fill": None}, "'fill' is missing"),
        ({"num_rows": torch.zeros(2, dtype=torch.float64)}, r"'num_rows' is \(2,\) float64, not \(1,\) float64"),
        ({"column_mean": torch.zeros(1, 3)}, r"'column_mean' is \(1, 3\) float32, not \(1, 3\) float64"),
    ],
)
def test_statistics_that_do_not_fit_are_refused(change: dict[str, torch.Tensor | None], expected: str) -> None:
    stack = stack_of(1)
    tensors = load(write_statistics(stack) or b"") | change
    data = save({name: tensor for name, tensor in tensors.items() if tensor is not None}, metadata={"format": "1"})
    with pytest.raises(CorruptObjectError, match=expected):
        read_stack(write_checkpoint(stack), data)
