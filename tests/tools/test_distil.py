"""Distillation: closer to the ANN with every epoch, the same each time; and its command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import typer  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

import refsnn  # noqa: E402
from refsnn.ann.forward import forward_images  # noqa: E402
from refsnn.convert import Calibration, finish, fit, preset  # noqa: E402
from refsnn.errors import InputError  # noqa: E402
from refsnn.network import Network  # noqa: E402
from refsnn.simulate import simulate  # noqa: E402
from tests.convert.graphs import FAMILIES, plain  # noqa: E402
from tests.convert.test_refine import CENTRED, images  # noqa: E402
from tools import distil as command  # noqa: E402
from tools.distillation import Settings, distil, divergence  # noqa: E402
from tools.spiking import SpikingNetwork  # noqa: E402

DIGITS = Path(__file__).parents[2] / "examples" / "digits.h5"


def distilled(method: str, steps: int, how: Settings, **settings):
    """Losses, the distilled network, and how far before and after are from the ANN on images not seen."""
    graph = plain(3)[1].graph()
    data = images(graph, 120)
    chosen = preset(method, **settings)
    fitted = fit(graph, chosen, steps, CENTRED, Calibration.measure(graph, data, CENTRED, threads=1))
    losses: list[float] = []
    network = SpikingNetwork(fitted, chosen, steps, CENTRED)
    learned = distil(network, graph, data, how, threads=1, report=lambda epoch, loss: losses.append(loss))

    other = images(graph, 60, seed=6)
    wanted = torch.tensor(forward_images(graph, other, CENTRED)).softmax(1)

    def distance(fit_):
        logits = simulate(finish(fit_, chosen, [steps]).network, other, steps, threads=1).logits[0]
        return divergence(torch.tensor(logits), wanted).item()

    return losses, finish(learned, chosen, [steps]).network, distance(fitted), distance(learned)


@pytest.mark.parametrize(
    ("method", "steps", "bits"), [("ecl", 2, 8), ("ecl", 4, 3), ("spikeconverter", 2, 4), ("qcfs", 4, 8)]
)
def test_it_comes_closer_to_the_ann(method, steps, bits):
    losses, _, before, after = distilled(method, steps, Settings(epochs=12, batch=20, rate=0.01), weight_bits=bits)
    assert losses[-1] < losses[0]
    assert after < 0.6 * before


def test_it_repeats():
    how = Settings(epochs=2, batch=50, rate=0.01, seed=3)
    losses, network, *_ = distilled("ecl", 2, how)
    again, same, *_ = distilled("ecl", 2, how)
    assert losses == again
    for one, other in zip(network.projections, same.projections, strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
def test_any_network_of_classes(family):
    graph = family(3)[1].graph()
    data = images(graph, 20)
    chosen = preset("ecl")
    fitted = fit(graph, chosen, 2, CENTRED, Calibration.measure(graph, data, CENTRED, threads=1))
    network = SpikingNetwork(fitted, chosen, 2, CENTRED)
    learned = distil(network, graph, data, Settings(epochs=1, batch=10), threads=1)
    found = network(torch.from_numpy(data)).detach().numpy()
    logits = simulate(finish(learned, chosen, [2]).network, data, 2, threads=1).logits[0]
    np.testing.assert_allclose(found, logits, rtol=1e-5, atol=1e-5)


def test_no_images_are_refused():
    graph = plain(3)[1].graph()
    chosen = preset("ecl")
    data = images(graph, 4)
    fitted = fit(graph, chosen, 2, CENTRED, Calibration.measure(graph, data, CENTRED, threads=1))
    with pytest.raises(InputError, match="at least one image"):
        distil(SpikingNetwork(fitted, chosen, 2, CENTRED), graph, data[:0], Settings())


def run(*arguments: str):
    application = typer.Typer()
    application.command()(command.main)
    return CliRunner().invoke(application, arguments)


def test_the_command_writes_a_network_that_runs(tmp_path):
    out = tmp_path / "network.h5"
    options = "--method ecl --steps 2 --epochs 1 --limit 200 --threads 1 --no-flip --shift 1"
    result = run(str(DIGITS), *options.split(), "--out", str(out))
    assert result.exit_code == 0, result.output
    network = refsnn.load(out)
    assert isinstance(network, Network)
    assert network.steps == 2
    assert network.information["distilled"]["epochs"] == 1
    assert network.information["distilled"]["images"] == 256
    model = refsnn.load(DIGITS)
    test = model.test[:200]
    right = int((simulate(network, test.images, 2).predictions[0] == test.labels).sum())
    assert f"ecl, T = 2, distilled: {right} of 200 right" in result.output


def test_a_folder_that_is_not_there_is_refused_first(tmp_path):
    result = run(str(DIGITS), "--method", "ecl", "--steps", "2", "--out", str(tmp_path / "none" / "network.h5"))
    assert result.exit_code == 2
    assert "there is no folder" in result.output
    assert "converted" not in result.output


def test_an_integer_network_is_refused(tmp_path):
    out = tmp_path / "network.h5"
    refsnn.convert(DIGITS, "ecl", 2).save(out)
    result = run(str(out), "--method", "ecl", "--steps", "2", "--out", str(tmp_path / "other.h5"))
    assert result.exit_code == 2
    assert "integer network already" in result.output
