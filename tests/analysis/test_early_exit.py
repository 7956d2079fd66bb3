"""Early exit: what the proved bound decides is what all steps answer, whatever the network and the events."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from typer.testing import CliRunner

import refsnn
from refsnn.__main__ import application
from refsnn.analysis import early_exit
from refsnn.ann import project
from refsnn.errors import InputError
from refsnn.network import CAP_STEPS, Input, Network, Projection, Readout, Spiking
from refsnn.simulate import simulate
from tests.networks import networks
from tests.small import classifier, images

RUNNER = CliRunner()


def every_step(network, pixels, steps):
    return simulate(network, pixels, tuple(range(1, steps + 1)), threads=1, kernels="portable")


@given(networks(), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_the_proved_bound_never_changes_an_answer(network, steps, seed):
    shape = network.readout.shape
    assume(math.prod(shape) > 1 and math.prod(shape[1:]) == 1)
    pixels = np.random.default_rng(seed).integers(0, 256, (6, *network.input.shape), np.uint8)
    simulation = every_step(network, pixels, steps)
    exits = early_exit.proved(network, simulation)
    np.testing.assert_array_equal(exits.answers, simulation.predictions[-1])
    assert exits.steps.min() >= 1
    assert exits.steps.max() <= steps


def layered(neuron: str, weights: np.ndarray, bias: np.ndarray) -> Network:
    """An input, one layer of spiking neurons, and a dense readout."""
    sources = weights.shape[1]
    ones = np.ones(sources, np.int32)
    return Network(
        populations=(
            Input(name="in", shape=(1,), table=np.arange(256, dtype=np.int16).reshape(1, -1), unit=1.0),
            Spiking(
                name="hidden", shape=(sources,), neuron=neuron, threshold=100 * ones, negative_threshold=0 * ones,
                initial_membrane=50 * ones, bias=0 * ones, cap=CAP_STEPS, unit=np.ones(sources),
            ),
            Readout(name="out", shape=(len(weights),), bias=bias.astype(np.int32), unit=1.0),
        ),
        projections=(
            Projection(source="in", target="hidden", kind="dense", weights=np.ones((sources, 1), np.int8),
                       shift=0 * ones),
            Projection(source="hidden", target="out", kind="dense", weights=weights.astype(np.int8)),
        ),
    )  # fmt: skip


def trains(neuron: str, sources: int, steps: int, random: np.random.Generator) -> np.ndarray:
    """Events ``(steps, sources)`` that a neuron of this kind can send."""
    lowest = {"if": 0, "dual": -1, "signed": -1}[neuron]
    found = random.integers(lowest, 2, (steps, sources))
    if neuron == "dual":  # its net count never falls below 0
        count = np.zeros(sources, int)
        for step in found:
            step[(count == 0) & (step < 0)] = 0
            count += step
    return found


@given(
    st.sampled_from(["if", "dual", "signed"]),
    st.integers(2, 5),
    st.integers(1, 12),
    st.integers(1, 9),
    st.sampled_from([1, 5, 127]),
    st.integers(0, 2**32 - 1),
)
def test_it_holds_for_every_sequence_of_events(neuron, classes, sources, steps, largest, seed):
    """Not only for those that an image causes; many near-ties, because the weights are small."""
    random = np.random.default_rng(seed)
    weights = random.integers(-largest, largest + 1, (classes, sources))
    bias = random.integers(-2 * largest, 2 * largest + 1, classes)
    least = early_exit.gains(layered(neuron, weights, bias), steps)
    events = trains(neuron, sources, steps, random)
    if random.random() < 0.5:  # the worst for what leads half-way: what follows favours another class
        half = steps // 2
        leader = int((events[:half] @ weights.T + bias).sum(axis=0).argmax())
        ahead = weights[(leader + 1) % classes] - weights[leader]
        worst = np.where(ahead > 0, 1, 0 if neuron == "if" else -1)
        events[half:] = worst if neuron != "dual" else np.where(worst < 0, events[half:] * 0, worst)
    membranes = np.cumsum(events @ weights.T + bias, axis=0)
    final = int(membranes[-1].argmax())
    for t in range(1, steps + 1):
        (answer,) = early_exit.decided(membranes[t - 1 : t], least, steps - t)
        assert answer in (-1, final)
    assert answer == final


@pytest.mark.parametrize("neuron", ["if", "signed"])
def test_the_bound_is_attained(neuron):
    """Two classes, three neurons: the worst events end in a tie, which the lower index wins; one less is lost."""
    weights, bias = np.array([[3, -2, 1], [-1, 4, 1]]), np.array([2, 1])
    least = early_exit.gains(layered(neuron, weights, bias), 5)
    # class 0 loses 6 where only the second neuron fires; signed neurons that fire negatively take 4 more
    expected = 2 - 1 - (6 if neuron == "if" else 6 + 4)
    assert least[0, 1] == expected
    for lead, answer in ((-3 * expected, 0), (-3 * expected - 1, -1)):
        assert early_exit.decided(np.array([[lead, 0]]), least, 3)[0] == answer
    # for class 1 a tie is not enough
    for lead, answer in ((-3 * least[1, 0], -1), (-3 * least[1, 0] + 1, 1)):
        assert early_exit.decided(np.array([[0, lead]]), least, 3)[0] == answer


def test_gains_are_those_of_all_combinations_of_events():
    """Against brute force, with a sum-pool, through a convolution and as a dense layer."""
    random = np.random.default_rng(5)
    network = refsnn.convert(classifier(3.0), "ecl", 4)
    weights = next(p for p in network.projections if p.target == network.readout.name).weights
    assert early_exit.gains(network, 4).shape == (len(weights),) * 2
    small = layered("dual", random.integers(-9, 10, (3, 4)), random.integers(-9, 10, 3))
    events = np.array(np.meshgrid(*[[-1, 0, 1]] * 4)).reshape(4, -1)
    steps = small.projections[1].weights.astype(int) @ events + small.readout.bias[:, None]
    worst = (steps[:, None] - steps[None, :]).min(axis=2)
    np.testing.assert_array_equal(early_exit.gains(small, 4), worst)


def test_a_decisive_network_stops_early():
    """Both neurons fire alike: class 0 gains its bias of 100 a step, and at worst loses 27 a step: 127 t >= 8 x 27."""
    network = layered("if", np.array([[127, 0], [0, 127]]), np.array([100, 0]))
    exits = early_exit.proved(network, every_step(network, np.array([[255], [0]], np.uint8), 8))
    assert exits.steps.tolist() == [2, 2]
    assert exits.answers.tolist() == [0, 0]


def test_margins_trade_steps_for_answers():
    model = classifier(3.0)
    network = refsnn.convert(model, "qcfs", 16)
    data = images(150, seed=4)
    simulation = every_step(network, data.images, 16)
    exits = [early_exit.by_margin(network, simulation, margin) for margin in (0.0, 1.0, 3.0, np.inf)]
    means = [each.steps.mean() for each in exits]
    assert means == sorted(means)
    assert means[0] == 1
    assert means[-1] == 16
    np.testing.assert_array_equal(exits[-1].answers, simulation.predictions[-1])
    accuracies = [(each.answers == data.labels).mean() for each in exits]
    assert accuracies[2] > accuracies[0]
    for each in exits:  # the answer is that of the step at which it stopped
        np.testing.assert_array_equal(each.answers, simulation.predictions[each.steps - 1, np.arange(150)])


def test_the_command(tmp_path):
    data = images(90, seed=1)
    project.write(tmp_path / "net.h5", classifier(3.0), writer="the tests", test=data)
    arguments = ["early-exit", str(tmp_path / "net.h5"), "--method", "ecl", "--steps", "12", "--margins", "1,4"]
    result = RUNNER.invoke(application(), [*arguments, "--json", str(tmp_path / "out.json")])
    assert result.exit_code == 0, (result.output, result.exception)
    document = json.loads((tmp_path / "out.json").read_text())
    assert (document["schema"], document["method"], document["steps"]) == ("refsnn-early-exit", "ecl", 12)
    network = refsnn.convert(tmp_path / "net.h5", "ecl", 12)
    simulation = every_step(network, data.images, 12)
    rows = document["rules"]
    assert [row["rule"] for row in rows] == [*(f"T = {t}" for t in (1, 2, 4, 8, 12)), "proved", "margin 1", "margin 4"]
    for row, t in zip(rows, (1, 2, 4, 8, 12), strict=False):
        assert row["mean_steps"] == t
        assert row["accuracy"] == (simulation.predictions[t - 1] == data.labels).mean()
    proved = early_exit.proved(network, simulation)
    assert rows[5]["agreement"] == 1.0
    assert rows[5]["accuracy"] == rows[4]["accuracy"]
    assert rows[5]["mean_steps"] == proved.steps.mean()
    assert rows[5]["early"] == (proved.steps < 12).mean()
    margin = early_exit.by_margin(network, simulation, 4)
    assert rows[7]["accuracy"] == (margin.answers == data.labels).mean()
    assert rows[7]["mean_steps"] == margin.steps.mean()
    for row in rows:
        assert row["rule"] in result.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "spikeconverter"], "rate schedule"),
        (["--steps", "0"], "steps is 0"),
        (["--margins", "-1"], "--margins"),
        (["--margins", "wide"], "--margins"),
        (["--method", "magic"], "magic"),
    ],
)
def test_bad_input(tmp_path, options, words):
    project.write(tmp_path / "net.h5", classifier(3.0), writer="the tests", test=images(9, seed=1))
    result = RUNNER.invoke(application(), ["early-exit", str(tmp_path / "net.h5"), *options])
    assert result.exit_code == 2, (result.output, result.exception)
    assert words in " ".join(result.output.split())


def test_what_cannot_stop_early_is_refused():
    for method in ("spikeconverter", "spikeconverter-rate"):
        with pytest.raises(InputError, match="rate schedule"):
            early_exit.gains(refsnn.convert(classifier(3.0), method, 4), 4)
    with pytest.raises(InputError, match="rate schedule"):
        early_exit.gains(refsnn.convert(classifier(3.0), "ecl", 4, drain=2), 4)
    network = refsnn.convert(classifier(3.0), "ecl", 4)
    with pytest.raises(ValueError, match="every T"):
        early_exit.proved(network, simulate(network, images(3, seed=1).images, (2, 4), threads=1))
    single = layered("if", np.ones((1, 2)), np.zeros(1))
    with pytest.raises(InputError, match="classes"):
        early_exit.gains(single, 4)
