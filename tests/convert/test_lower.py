"""The lowered populations, evaluated with real numbers, give what the ANN gives."""

from __future__ import annotations

import numpy as np
import pytest

from refsnn.ann import graph as ann
from refsnn.ann.forward import evaluate, forward
from refsnn.convert.lower import RealPopulation, Term, lower
from refsnn.convert.normalise import normalise
from refsnn.errors import InputError
from tests.convert.graphs import FAMILIES, Builder


def term_values(term: Term, source: np.ndarray, target: tuple[int, ...]) -> np.ndarray:
    if term.pool is not None:
        pool = ann.AveragePool(name="p", kernel=term.pool.kernel, stride=term.pool.stride, padding=term.pool.padding)
        source = evaluate(pool, [source]) * np.prod(term.pool.kernel)
    if term.kind == "dense":
        return (source.reshape(len(source), -1) @ term.weights.T).reshape(len(source), *target)
    if term.kind == "identity":
        if source.ndim == 4:
            source = source[:, :, :: term.stride[0], :: term.stride[1]]
        values = source * term.weights.reshape(-1, *(1,) * (source.ndim - 2))
    else:
        conv = ann.Conv(
            name="c",
            weights=term.weights,
            stride=term.stride,
            padding=term.padding,
            dilation=term.dilation,
            groups=term.groups,
        )
        values = evaluate(conv, [source])
    result = np.zeros((len(source), *target))
    result[:, term.channels] = values
    return result


def evaluate_populations(populations: tuple[RealPopulation, ...], x: np.ndarray) -> dict[str, np.ndarray]:
    values: dict[str, np.ndarray] = {}
    for p in populations:
        if p.kind == "input":
            values[p.name] = x
            continue
        if p.kind == "max_pool":
            values[p.name] = evaluate(p.pool, [values[p.source]])
            continue
        total = sum((term_values(t, values[t.source], p.shape) for t in p.terms), start=np.zeros((len(x), *p.shape)))
        total = total + p.bias.reshape(*p.bias.shape, *(1,) * (len(p.shape) - p.bias.ndim))
        if p.kind == "rectified":
            total = evaluate(p.activation, [total])
        values[p.name] = total
    return values


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_populations_represent_the_network(family, seed):
    _, builder = family(seed)
    graph = builder.graph()
    x = np.random.default_rng(seed).uniform(-1, 1, (4, *graph.input.shape))
    normalised = normalise(graph)
    seen = {}
    expected = forward(graph, x)
    np.testing.assert_allclose(
        forward(normalised, x, lambda op, values: seen.__setitem__(op.name, values.copy())), expected, atol=1e-12
    )
    populations = lower(normalised)
    values = evaluate_populations(populations, x)
    readout = populations[-1]
    assert readout.kind == "readout"
    logits = values[readout.name]
    if readout.output == "relu":
        logits = np.maximum(logits, 0)
    np.testing.assert_allclose(logits.reshape(expected.shape), expected, atol=1e-9)
    for p in populations:
        if p.kind in ("rectified", "signed"):
            np.testing.assert_allclose(values[p.name], seen[p.operation].reshape(values[p.name].shape), atol=1e-9)


def test_bias_differs_at_the_border_behind_a_batch_norm():
    b = Builder(0)
    x = b.relu(b.conv("input", 4))
    b.conv(b.norm(x), 5)
    populations = lower(normalise(b.graph()))
    assert populations[-1].bias.shape == (5, 8, 8)
    assert len(populations) == 3


def test_sums_without_activation_become_signed_populations():
    _, builder = FAMILIES[3](0)
    kinds = [p.kind for p in lower(normalise(builder.graph()))]
    assert kinds.count("signed") == 2  # the stem and the first sum; the last sum has one reader and is folded


def test_rectification_moves_before_max_pooling():
    b = Builder(0)
    b.flatten(b.relu(b.max_pool(b.conv("input", 4))))
    kinds = [p.kind for p in lower(normalise(b.graph()))]
    assert kinds == ["input", "rectified", "max_pool", "readout"]


def refused(builder: Builder) -> str:
    with pytest.raises(InputError) as error:
        lower(normalise(builder.graph()))
    return str(error.value)


def test_refusals_name_the_layer():
    b = Builder(0)
    x = b.relu(b.conv("input", 4))
    pool = b.add(
        ann.AveragePool(
            name="same", inputs=(x,), kernel=(3, 3), stride=(1, 1), padding=(1, 1, 1, 1), count_padding=False
        )
    )
    b.flatten(pool)
    assert "'same'" in refused(b)
    b = Builder(0)
    s = b.add(ann.Sigmoid(name="gate", inputs=(b.conv("input", 4),)))
    b.conv(s, 3)
    assert "'gate' (Sigmoid)" in refused(b)
    b = Builder(0)
    x = b.relu(b.conv("input", 4))
    b.reshape(x, (16, 4, 4))
    assert "reshape" in refused(b)
    b = Builder(0)
    x = b.concatenate(b.relu(b.conv("input", 3)), b.relu(b.conv("input", 5)))
    b.conv(x, 4, groups=2)
    assert "cut across" in refused(b)
