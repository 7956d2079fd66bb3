"""NIR graphs: the ANN behind integrate-and-fire nodes, and what is refused."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from refsnn.ann import graph, nir
from refsnn.ann.forward import evaluate, forward
from refsnn.errors import InputError

RANDOM = np.random.default_rng(0)


def write(path, nodes, edges, version="1.0.8"):
    """A NIR file in the layout of the ``nir`` package; ``nodes``: ``{name: (type, parameters)}``."""
    with h5py.File(path, "w") as file:
        file["version"] = version
        file["node/type"] = "NIRGraph"
        for name, (kind, parameters) in nodes.items():
            group = file.create_group(f"node/nodes/{name}")
            group["type"] = kind
            for key, value in parameters.items():
                group[key] = value
        file["node/edges"] = np.array(edges, dtype="S")
    return path


def chain(path, *nodes, shape=(2, 5, 4)):
    """Input, the nodes in a row, Output."""
    named = {"input": ("Input", {"shape": np.array(shape)})}
    named |= {f"n{index}": node for index, node in enumerate(nodes)} | {"output": ("Output", {"shape": np.array([1])})}
    return write(path, named, list(zip(list(named)[:-1], list(named)[1:], strict=True)))


def fire(shape, threshold=1.0, r=1.0, reset=None):
    full = {"v_threshold": threshold, "r": r} | ({} if reset is None else {"v_reset": reset})
    return "IF", {key: np.broadcast_to(np.asarray(value, float), shape) for key, value in full.items()}


def test_an_integrate_and_fire_network_is_a_clipped_relu_network(tmp_path):
    weights, bias, dense = RANDOM.normal(size=(3, 2, 3, 3)), RANDOM.normal(size=3), RANDOM.normal(size=(4, 3))
    threshold = np.array([1.0, 2.0, 0.5])[:, None, None]
    path = chain(
        tmp_path / "n.nir",
        (
            "Conv2d",
            {
                "weight": weights,
                "bias": bias,
                "stride": [2, 2],
                "padding": [1, 1],
                "dilation": [1, 1],
                "groups": 1,
                "input_shape": [5, 4],
            },
        ),
        fire((3, 3, 2), threshold, r=3.0, reset=-0.25),
        ("SumPool2d", {"kernel_size": [3, 2], "stride": [3, 2], "padding": [0, 0]}),
        ("Flatten", {"start_dim": 0, "end_dim": -1, "input_type": [3, 1, 1]}),
        ("Linear", {"weight": dense}),
        ("I", {"r": np.full(4, 0.5)}),
    )
    model = nir.read(path)
    assert (model.format, model.writer) == ("nir", "NIR 1.0.8")
    x = RANDOM.normal(size=(2, 2, 5, 4))
    conv = graph.Conv(name="c", weights=weights, bias=bias, stride=(2, 2), padding=(1, 1, 1, 1))
    rates = np.clip(3.0 * evaluate(conv, [x]) / (threshold + 0.25), 0, 1)
    np.testing.assert_allclose(forward(model.graph, x), 0.5 * rates.sum(axis=(2, 3)) @ dense.T)


def test_currents_of_several_edges_add_up(tmp_path):
    nodes = {
        "in": ("Input", {"shape": np.array([3])}),
        "a": ("Affine", {"weight": np.eye(3), "bias": np.ones(3)}),
        "b": ("Scale", {"scale": np.array([1.0, 2.0, 3.0])}),
        "if": fire((3,), threshold=10.0),
        "out": ("Output", {"shape": np.array([3])}),
    }
    edges = [("a", "if"), ("b", "if"), ("in", "b"), ("in", "a"), ("if", "out")]
    network = nir.read(write(tmp_path / "n.nir", nodes, edges)).graph
    np.testing.assert_allclose(forward(network, np.array([[1.0, 2.0, 5.0]])), [[0.3, 0.7, 1.0]])


def test_what_the_nir_package_writes(tmp_path):
    package = pytest.importorskip("nir")
    weight, dense = RANDOM.normal(size=(2, 1, 3, 3)), RANDOM.normal(size=(3, 8))
    written = package.NIRGraph.from_list(
        package.Input(input_type={"input": np.array([1, 4, 4])}),
        package.Conv2d(
            input_shape=(4, 4), weight=weight, stride=1, padding="same", dilation=1, groups=1, bias=np.zeros(2)
        ),
        package.IF(r=np.ones((2, 4, 4)), v_threshold=np.full((2, 4, 4), 2.0)),
        package.AvgPool2d(kernel_size=np.array([2, 2]), stride=np.array([2, 2]), padding=np.array([0, 0])),
        package.Flatten(input_type={"input": np.array([2, 2, 2])}, start_dim=0),
        package.Affine(weight=dense, bias=np.ones(3)),
        package.Output(output_type={"output": np.array([3])}),
    )
    package.write(tmp_path / "n.nir", written)
    network = nir.read(tmp_path / "n.nir").graph
    x = RANDOM.normal(size=(1, 1, 4, 4))
    padded = np.pad(x[0, 0], 1)
    rates = np.array(
        [[[(padded[r : r + 3, c : c + 3] * kernel[0]).sum() for c in range(4)] for r in range(4)] for kernel in weight]
    )
    pooled = np.clip(rates / 2, 0, 1).reshape(2, 2, 2, 2, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(forward(network, x)[0], dense @ pooled.ravel() + 1)


FEATURES = (3,)
REFUSED = [
    (("LIF", {}), r"node 'n0' \(LIF\) is not supported: its membrane leaks"),
    (("CubaLIF", {}), r"node 'n0' \(CubaLIF\) is not supported: its membrane leaks"),
    (("Delay", {}), r"node 'n0' \(Delay\) is not supported: the rates of an ANN know no time"),
    (("Quantum", {}), r"node 'n0' \(Quantum\) is not supported: it has no ANN counterpart"),
    (fire(FEATURES, threshold=0.0), r"'n0' \(IF\): v_threshold - v_reset is 0; it must be above 0"),
    (("Linear", {"weight": np.ones((2, 7))}), r"layer 'n0': weights \(2, 7\) do not fit"),
    (("Scale", {"scale": np.ones(7)}), r"node 'n0': has values of shape \(7,\) for neurons \(3,\)"),
    (("Linear", {}), "is damaged"),
]


@pytest.mark.parametrize(("node", "message"), REFUSED)
def test_refused_by_name(tmp_path, node, message):
    path = chain(tmp_path / "n.nir", node, shape=FEATURES)
    with pytest.raises(InputError, match=message) as caught:
        nir.read(path)
    assert str(caught.value).startswith(str(path))


def test_values_that_differ_within_a_channel_are_refused(tmp_path):
    threshold = np.ones((2, 5, 4))
    threshold[1, 0, 0] = 2
    with pytest.raises(InputError, match=r"node 'n0.gain': its values differ between neurons of one channel"):
        nir.read(chain(tmp_path / "n.nir", fire((2, 5, 4), threshold)))


def test_an_integrator_inside_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"node 'n0' \(I\) integrates without firing"):
        nir.read(chain(tmp_path / "n.nir", ("I", {"r": np.ones(3)}), fire(FEATURES), shape=FEATURES))


def test_recurrence_is_refused(tmp_path):
    path = chain(tmp_path / "n.nir", fire(FEATURES), ("Linear", {"weight": np.eye(3)}), shape=FEATURES)
    with h5py.File(path, "a") as file:
        edges = [*file["node/edges"][()].tolist(), [b"n1", b"n0"]]
        del file["node/edges"]
        file["node/edges"] = np.array(edges, dtype="S")
    with pytest.raises(InputError, match=r"\['n0', 'n1', 'output'\] hang on each other or on a loop"):
        nir.read(path)


def test_edges_and_ends_are_checked(tmp_path):
    ends = {"in": ("Input", {"shape": np.array([3])}), "out": ("Output", {"shape": np.array([3])})}
    with pytest.raises(InputError, match="an edge names the node 'ghost', which is not there"):
        nir.read(write(tmp_path / "n.nir", ends, [("in", "ghost")]))
    with pytest.raises(InputError, match="has 0 nodes of type Output"):
        nir.read(write(tmp_path / "n.nir", {"in": ends["in"], "s": fire(FEATURES)}, [("in", "s")]))
