"""QCFS and the learned clip: values by their formula, gradients by autograd on the formula written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from tools import activations  # noqa: E402

BOUNDS = st.floats(0.125, 64, width=32)
LEVELS = st.integers(1, 32)


def inputs(bound: float) -> torch.Tensor:
    values = np.random.default_rng(0).uniform(-bound, 2 * bound, (3, 4, 5, 5))
    return torch.tensor(values, requires_grad=True)


def straight_through_floor(x):
    return x + (torch.floor(x) - x).detach()


def written_out(x, bound, levels):
    """The clip in front instead of around, as Bu et al. implement it: the values are the same."""
    return bound * straight_through_floor(torch.clamp(x / bound, 0, 1) * levels + 0.5) / levels


@given(bound=BOUNDS, levels=LEVELS)
def test_values(bound, levels):
    x = inputs(bound)
    y = activations.QCFS(levels, bound).double()(x).detach().numpy()
    expected = bound * np.clip(np.floor(x.detach().numpy() * levels / bound + 0.5) / levels, 0, 1)
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    assert len(np.unique(np.rint(y * levels / bound))) <= levels + 1


@given(bound=BOUNDS, levels=LEVELS)
def test_gradients(bound, levels):
    x, quantised = inputs(bound), activations.QCFS(levels, bound).double()
    weights = torch.tensor(np.random.default_rng(1).normal(size=x.shape))
    (quantised(x) * weights).sum().backward()
    other, learned = x.detach().clone().requires_grad_(), torch.tensor(bound, dtype=torch.float64, requires_grad=True)
    (written_out(other, learned, levels) * weights).sum().backward()
    assert torch.equal(x.grad, torch.where((x > 0) & (x < bound), weights, 0))
    np.testing.assert_allclose(x.grad.numpy(), other.grad.numpy(), rtol=1e-12)
    np.testing.assert_allclose(quantised.bound.grad.item(), learned.grad.item(), rtol=1e-5, atol=1e-5)


@given(bound=BOUNDS)
def test_learned_clip(bound):
    x, clip = inputs(bound), activations.Clip(bound).double()
    y = clip(x)
    np.testing.assert_array_equal(y.detach().numpy(), np.clip(x.detach().numpy(), 0, bound))
    y.sum().backward()
    assert clip.bound.grad == (x > bound).sum()


def test_unknown_kind_and_level():
    with pytest.raises(ValueError, match="there are: relu, relu6, clip, qcfs"):
        activations.activation("gelu")
    with pytest.raises(ValueError, match="at least 1 level"):
        activations.activation("qcfs", 0)
