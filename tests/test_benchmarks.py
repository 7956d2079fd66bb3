"""The benchmark: its networks, the equality that it insists on, a whole small run, and what it renders."""

from __future__ import annotations

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from benchmarks import layers, measure, networks, neurons, pace, peers, plot, results, roofline, session, table, threads
from benchmarks.__main__ import app
from benchmarks.peers import Case, Outcome
from benchmarks.results import Rates, Results, Row
from benchmarks.roofline import Roofline
from refsnn import kernels
from refsnn.errors import InputError
from refsnn.simulate import simulate

torch = pytest.importorskip("torch", reason="install it with: pip install 'refsnn[peers]'")

INSTALLED, MISSING = peers.load(peers.PEERS)
SMALL = [
    "--networks=tiny",
    "--spiking=15",
    "--steps=2",
    "--batch=2",
    "--rounds=1",
    "--seconds=0.001",
    "--no-compile",
    "--kernels=portable",
]


def engines(network, images, steps, batch=2, threads=1):
    case = Case(
        network=network,
        steps=steps,
        batch=batch,
        threads=threads,
        images=images,
        kernels=("portable",),
        compiled=False,
    )
    return [engine for peer in INSTALLED for engine in peer.engines(case)]


def prepared(fraction=0.15, steps=2, seed=0, number=8):
    from benchmarks.rates import set_rates

    network = networks.NETWORKS["tiny"](seed)
    images = session.pixels(network, number, seed)
    return set_rates(network, images, steps, fraction), images


@pytest.mark.parametrize(
    ("name", "weights", "multiply_adds"),
    [
        ("ResNet-18", 11_164_352, 555_422_720),
        ("ResNet-20", 270_896, 40_813_184),
        ("VGG-16", 14_715_584, 313_201_664),
        ("MobileNet-v2", 2_202_560, 87_976_448),
    ],
)
def test_shapes_are_the_published_ones(name, weights, multiply_adds):
    """Weights of convolutions and the dense layer, and what the literature counts as multiply-adds of an image."""
    network = networks.NETWORKS[name](0)
    synapses = [p for p in network.projections if p.kind != "identity"]
    assert sum(p.weights.size for p in synapses) == weights
    identities = sum(np.prod(network[p.target].shape) for p in network.projections if p.kind == "identity")
    assert networks.multiply_adds(network, 1) - identities == multiply_adds
    stem = np.prod(network["layer 1"].shape) * 27
    assert networks.multiply_adds(network, 4) == 4 * networks.multiply_adds(network, 1) - 3 * stem


@pytest.mark.parametrize("fraction", [0.05, 0.15, 0.4])
@pytest.mark.parametrize("steps", [1, 4])
def test_neurons_spike_as_often_as_wanted(fraction, steps):
    from benchmarks.rates import reached

    network, images = prepared(fraction, steps)
    for name, rate in reached(network, images, steps).items():
        population = network[name]
        threshold = int(population.threshold[0])
        assert rate <= fraction, name
        if threshold > 1:
            lower = networks.with_threshold(network, name, threshold - 1)
            assert reached(lower, images, steps)[name] > fraction, f"{name}: a lower threshold is enough"


@pytest.mark.parametrize(("steps", "fraction", "seed"), [(1, 0.15, 0), (2, 0.4, 1), (8, 0.05, 2)])
@pytest.mark.parametrize(("batch", "threads"), [(2, 1), (1, 2), (3, 2)])
def test_exact_engines_give_the_same_outputs(steps, fraction, seed, batch, threads):
    network, images = prepared(fraction, steps, seed, number=6)
    made = engines(network, images, steps, batch, threads)
    assert {"SpikingJelly fp32", "SpikingJelly fastest", "snnTorch fp32"} - {e.name for e in made if e.exact} <= (
        {"snnTorch fp32"} if "snntorch" in MISSING else set()
    ) | ({"SpikingJelly fp32", "SpikingJelly fastest"} if "spikingjelly" in MISSING else set())
    measure.check(made, images)
    assert len(np.unique(made[0].run(images).outputs)) > 6


class Changed:
    """An engine whose last output is off by one."""

    exact, note = True, ""

    def __init__(self, engine):
        self.name = f"changed {engine.name}"
        self.engine = engine

    def run(self, images):
        outcome = self.engine.run(images)
        outputs = outcome.outputs.copy()
        outputs[-1, 3] += 1
        return Outcome(outputs, outcome.seconds)


def test_a_changed_output_is_an_error():
    network, images = prepared()
    first = engines(network, images, 2)[0]
    with pytest.raises(InputError, match=r"changed refsnn portable and refsnn portable .* 1 of 8 .* first for image 7"):
        measure.check([first, Changed(first)], images)


def test_engines_that_are_not_exact_may_differ():
    network, images = prepared()
    first = engines(network, images, 2)[0]
    other = Changed(first)
    other.exact = False
    measure.check([first, other], images)


def test_a_mismatch_stops_the_command(tmp_path, monkeypatch):
    class Peer:
        def engines(self, case):
            made = INSTALLED[0].engines(case)
            return [*made, Changed(made[0])]

    monkeypatch.setattr(peers, "load", lambda names: ([Peer()], {}))
    outcome = CliRunner().invoke(app, [*SMALL, f"--out={tmp_path}"])
    assert outcome.exit_code == 2
    assert "must give the same outputs" in outcome.stderr
    assert json.loads((tmp_path / "results.json").read_text())["rows"] == []


def test_the_fastest_setting_is_found_and_a_failing_one_is_named():
    if "spikingjelly" in MISSING:
        pytest.skip(MISSING["spikingjelly"])
    from benchmarks.peers.spikingjelly import Fastest

    class Setting:
        def __init__(self, note, seconds):
            self.note, self.seconds = note, seconds

        def run(self, images):
            if self.seconds is None:
                raise RuntimeError("no compiler")
            return Outcome(images + self.seconds, self.seconds)

    candidates = [Setting("eager", 3), Setting("compiled", None), Setting("last", 2), Setting("other", 4)]
    found = Fastest("both", iter(candidates), np.zeros(1))
    assert found.note == "last; compiled: RuntimeError"
    assert found.run(np.zeros(1)).outputs == 2


def test_engines_take_turns_and_another_one_begins_each_round(monkeypatch):
    monkeypatch.setattr(measure, "PAUSE", 0)
    order = []

    class Engine:
        note, exact = "", True

        def __init__(self, name, seconds):
            self.name, self.seconds = name, seconds

        def run(self, images):
            order.append((self.name, len(images)))
            return Outcome(np.zeros((len(images), 1)), self.seconds * len(images))

    rates, cores = measure.measure(
        [Engine("a", 0.25), Engine("b", 0.03125)], np.zeros((8, 1, 1, 1), np.uint8), 2, 3, 0.1875
    )
    assert order[4:] == [("a", 2), ("b", 6), ("b", 6), ("a", 2), ("a", 2), ("b", 6)]
    assert [each.per_second for each in rates] == [[4.0] * 3, [32.0] * 3]
    assert [each.images for each in rates] == [2, 6]
    assert cores > 0


def test_the_whole_command(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "IMAGES", 4)
    monkeypatch.setattr(roofline, "BYTES", 1 << 16)
    monkeypatch.setattr(roofline, "SECONDS", 1e-4)
    first = CliRunner().invoke(app, [*SMALL, f"--out={tmp_path}"])
    assert first.exit_code == 0, first.output
    stored = (tmp_path / "results.json").read_bytes()
    (row,) = results.load(tmp_path / "results.json").rows
    names = [engine.name for engine in row.engines]
    assert names[0] == "refsnn portable"
    for peer, engine in (
        ("spikingjelly", "SpikingJelly fastest"),
        ("snntorch", "snnTorch fp32"),
        ("onnxruntime", "ONNX Runtime int8"),
    ):
        assert (engine in names) == (peer not in MISSING)
        assert (f"left out: {peer}" in first.stdout) == (peer in MISSING)
    assert row.cores > 0
    assert all(rate > 0 for engine in row.engines for rate in engine.per_second)
    assert "neurons that spike in a step" in first.stderr
    for name in ("tables.md", "speed.svg", "speed.png"):
        assert (tmp_path / name).stat().st_size > 500

    second = CliRunner().invoke(app, [*SMALL, f"--out={tmp_path}"])
    assert second.exit_code == 0, second.output
    assert "1 of 1 cases are there already" in second.stderr
    rendered = CliRunner().invoke(app, ["--render", f"--out={tmp_path}"])
    assert rendered.stdout == second.stdout == first.stdout
    assert (tmp_path / "results.json").read_bytes() == stored

    again = CliRunner().invoke(app, [*SMALL, "--again", f"--out={tmp_path}"])
    assert again.exit_code == 0, again.output
    assert len(results.load(tmp_path / "results.json").rows) == 1
    assert (tmp_path / "results.json").read_bytes() != stored


def stored_results():
    """Two networks, two numbers of steps, invented figures."""
    found = Results({"processor": "an example", "numpy": "2"}, missing={"snntorch": "No module named 'snntorch'"})
    found.add_roofline(Roofline(1, {"portable": ("vpmaddwd, 512 bits", 9e10), "fp32": ("vfmadd231ps", 1e11)}, 1.2e10))
    for network, factor in (("ResNet-18", 1.0), ("VGG-16", 2.0)):
        for steps in (2, 4):
            made = [
                Rates(
                    "refsnn portable", "", True, 64, [factor * 400 / steps, factor * 440 / steps, factor * 380 / steps]
                ),
                Rates("SpikingJelly fastest", "eager", True, 32, [factor * 80 / steps] * 3),
                Rates("ONNX Runtime int8", "", False, 64, [factor * 1234.5] * 3),
            ]
            found.add(
                Row(
                    network=network,
                    spiking=15.0,
                    steps=steps,
                    batch=32,
                    threads=1,
                    cores=0.97,
                    reached={"layer 1": 0.15, "layer 2": 0.1234},
                    multiply_adds=steps * 10**8,
                    plain_multiply_adds=10**8,
                    traffic=steps * 1e6,
                    plain_traffic=1e6,
                    engines=made,
                )
            )
    return found


def test_tables_from_a_stored_file(tmp_path):
    stored_results().save(tmp_path / "results.json")
    found = results.load(tmp_path / "results.json")
    assert found == stored_results()
    speeds = table.speeds(found)
    assert speeds.rows[0] == [
        *("ResNet-18", "15 %", "2", "32", "1"),
        *("200 (190 .. 220)", "40.0 (40.0 .. 40.0)", "1,234 (1,234 .. 1,234)"),
    ]
    ratios = table.ratios(found)
    assert ratios.columns[-3:] == ["kernels", "SpikingJelly fastest", "ONNX Runtime int8"]
    assert ratios.rows[3] == ["VGG-16", "15 %", "4", "32", "1", "portable", "5.00", "0.08"]
    assert "| ResNet-18 | 15 % | 4 |" in speeds.markdown()
    assert any(
        "by layer, in %: 15.0 12.3; processor time over time while measuring: 0.97" in note
        for note in table.notes(found)
    )

    outcome = CliRunner().invoke(app, ["--render", f"--out={tmp_path}"])
    assert outcome.exit_code == 0, outcome.output
    assert "left out: snntorch" in outcome.stdout
    assert speeds.markdown() in (tmp_path / "tables.md").read_text()


def test_the_picture_shows_every_engine_network_and_roof(tmp_path):
    found = stored_results()
    plot.draw(found, tmp_path / "a.svg")
    picture = (tmp_path / "a.svg").read_text()
    for text in ("ResNet-18, batch 32", "VGG-16", "refsnn portable", "ONNX Runtime int8", "vfmadd231ps", "12.0 GB/s"):
        assert f"<!-- {text}" in picture or text in picture, text
    plot.draw(results.load(_saved(found, tmp_path)), tmp_path / "b.svg")
    assert (tmp_path / "b.svg").read_text() == picture


def _saved(found, folder):
    found.save(folder / "results.json")
    return folder / "results.json"


def test_results_of_another_machine_are_not_mixed(tmp_path):
    _saved(stored_results(), tmp_path)
    outcome = CliRunner().invoke(app, [*SMALL, f"--out={tmp_path}"])
    assert outcome.exit_code == 2
    assert "was measured with another processor" in outcome.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--networks=LeNet"], "there is no network 'LeNet'"),
        (["--peers=nengo"], "there is no peer 'nengo'"),
        (["--kernels=abacus"], "the kernel set 'abacus' is unknown"),
        (["--steps=two"], "numbers with commas"),
        (["--batch=0"], "above 0"),
        (["--rounds=0"], "at least 1"),
    ],
)
def test_wrong_options_are_named(tmp_path, options, message):
    outcome = CliRunner().invoke(app, [*SMALL, *options, f"--out={tmp_path}"])
    assert outcome.exit_code == 2
    assert message in outcome.stderr


def test_nothing_to_render_is_an_error(tmp_path):
    outcome = CliRunner().invoke(app, ["--render", f"--out={tmp_path}"])
    assert outcome.exit_code == 2
    assert "measure first" in outcome.stderr
    (tmp_path / "results.json").write_text("[]")
    outcome = CliRunner().invoke(app, ["--render", f"--out={tmp_path}"])
    assert outcome.exit_code == 2
    assert "is not a benchmark's results" in outcome.stderr


def test_a_missing_library_is_left_out_by_name(monkeypatch):
    def load(name):
        raise ImportError("No module named 'snntorch'")

    monkeypatch.setattr(peers.importlib, "import_module", load)
    found, missing = peers.load(["snntorch"])
    assert found == []
    assert missing == {"snntorch": "No module named 'snntorch'; install it with: pip install 'refsnn[peers]'"}


def test_the_plain_network_is_the_same_in_onnx():
    """Its fp32 outputs are those of the layers written out."""
    if "onnxruntime" in MISSING:
        pytest.skip(MISSING["onnxruntime"])
    network, images = prepared()
    maps = {"input": torch.from_numpy(images.astype(np.float64))}
    for population in network.spiking:
        threshold = float(population.threshold[0])
        total = torch.from_numpy(population.bias / threshold).reshape(-1, 1, 1)
        for projection in network.incoming(population.name):
            source = maps[projection.source]
            if projection.kind == "identity":
                total = total + source
                continue
            if projection.pool:
                source = source.unfold(2, 2, 2).unfold(3, 2, 2).sum((-1, -2))
            weights = torch.from_numpy(projection.weights / threshold)
            padding, groups = projection.padding[0], projection.groups
            total = total + torch.nn.functional.conv2d(
                source, weights, stride=projection.stride, padding=padding, groups=groups
            )
        maps[population.name] = total.clamp(min=0)
    (readout,) = network.incoming("readout")
    wanted = maps[readout.source].mean((2, 3)).numpy() @ readout.weights.T / 127
    plain, small = (e for e in engines(network, images, 2) if e.name.startswith("ONNX"))
    np.testing.assert_allclose(plain.run(images).outputs, wanted, rtol=1e-4, atol=1e-4)
    error = np.sqrt(((small.run(images).outputs - wanted) ** 2).mean() / (wanted**2).mean())
    assert 0 < error < 0.1, "int8 rounds, a little"


def test_roofs_are_measured_only_where_the_processor_has_the_instruction(monkeypatch):
    for name in (*kernels.SETS, roofline.FLOATS):
        instruction = roofline.usable(name)
        if instruction is not None:
            monkeypatch.setattr(roofline, "SECONDS", 1e-4)
            assert roofline.peak(instruction, 1) > 1e6
    assert roofline.usable("abacus") is None
    monkeypatch.setattr(roofline.binding, "get_host_cpu_features", dict)
    for name in (*kernels.SETS, roofline.FLOATS, "amx"):
        assert roofline.usable(name) is None


def test_simulations_are_timed_beside_a_loop_on_registers(capsys, monkeypatch):
    found = [name for name in kernels.available() if roofline.usable(name)]
    if not found:
        pytest.skip("no instruction is known for this machine's kernel sets")
    monkeypatch.setattr(roofline, "SECONDS", 1e-4)
    monkeypatch.setattr(pace, "BURST", 1e-4)
    small = {"network": "ResNet-20", "kernels": found[0], "steps": 1, "spiking": 15, "images": 2}
    threads.main(**small, threads=2, rounds=2)
    for line in capsys.readouterr().out.splitlines()[1:]:
        one, several, ratio = (float(cell.replace(",", "")) for cell in line.split()[-3:])
        assert min(one, several) > 0
        assert 0 < ratio < 20
    pace.main(**small, runs=2)
    assert "correlation" in capsys.readouterr().out
    for command in (pace.main, threads.main):
        with pytest.raises(typer.Exit):
            command(**{**small, "kernels": "abacus"})
        assert "no peak is known here for the kernel set 'abacus'" in capsys.readouterr().err


def test_a_refused_kernel_set_has_no_roof(monkeypatch):
    def refuse(name):
        raise InputError("cannot run on this machine")

    monkeypatch.setattr(kernels, "select", refuse)
    assert roofline.usable("amx") is None
    assert roofline.usable("portable") is None


def test_a_peak_that_was_reached_once_stays():
    found = Results({})
    found.add_roofline(Roofline(1, {"amx": ("tdpbssd", 2e12)}, 1e10))
    found.add_roofline(Roofline(1, {"amx": ("tdpbssd", 1e12), "vnni": ("vpdpbusd", 3e11)}, 2e10))
    found.add_roofline(Roofline(2, {}, 3e10))
    assert found.roofline(1) == Roofline(1, {"amx": ("tdpbssd", 2e12), "vnni": ("vpdpbusd", 3e11)}, 2e10)
    assert len(found.rooflines) == 2


def dense_kernels():
    found = [name for name in kernels.available() if kernels.select(name).dense is not None]
    return found[0] if found else pytest.skip("this machine can run no kernel set with dense kernels")


def test_every_layer_of_the_profile_has_a_line(capsys):
    layers.main(network="tiny", kernels=dense_kernels(), images=3, batch=2, runs=1)
    *lines, layers_line, wall = capsys.readouterr().out.splitlines()
    names = [line.split("  ")[0] for line in lines]
    assert [p.name for p in networks.NETWORKS["tiny"](0).populations[1:]] == names[2:]
    assert "images/s" in layers_line
    assert "at most" in wall


def test_a_layer_without_padding_has_a_product_for_each_synapse_and_step():
    """64 channels onto 64 fill a step; a stem has 3 pixels of 3 channels and one of padding in each of 3 lines."""
    kernel_set = dense_kernels()
    network = networks.NETWORKS["ResNet-18"](0)
    images = np.zeros((2, *network.input.shape), np.uint8)
    with layers._timed() as (_, packed):
        simulate(network, images, 1, kernels=kernel_set, threads=1)
    first, second = (p.name for p in network.populations[1:3])
    assert packed[second] == 2 * networks.multiply_adds(network, 1, second)
    line = 3 * 4 if kernels.select(kernel_set).dense.halves else 64
    assert packed[first] == 2 * 32 * 32 * 64 * 3 * line


@pytest.mark.parametrize("part", ["sums", "neurons"])
def test_a_profile_without_a_part_leaves_it_out_and_nothing_else_is_changed(part, capsys):
    """Outputs tell: without neurons nothing is sent; afterwards they are right again."""
    kernel_set = dense_kernels()
    network = networks.NETWORKS["tiny"](0)
    images = np.random.default_rng(0).integers(0, 256, (3, *network.input.shape), np.uint8)
    right = simulate(network, images, 2, kernels="blas")
    with layers.left_out(part):
        wrong = simulate(networks.NETWORKS["tiny"](0), images, 2, kernels=kernel_set)
    assert any((wrong.spikes[name] != right.spikes[name]).any() for name in right.spikes)
    if part == "neurons":
        assert sum(int(count.sum()) for count in wrong.spikes.values()) == 0
    after = simulate(networks.NETWORKS["tiny"](0), images, 2, kernels=kernel_set)
    np.testing.assert_array_equal(after.membranes, right.membranes)
    layers.main(network="tiny", kernels=kernel_set, images=3, batch=2, runs=1, without=part)
    assert f"without {part}" in capsys.readouterr().out


def test_a_part_that_a_profile_does_not_have_is_refused(capsys):
    with pytest.raises(typer.Exit):
        layers.main(kernels=dense_kernels(), without="input")
    assert "sums or neurons was expected" in capsys.readouterr().err


def test_a_profile_of_event_driven_kernels_is_refused(capsys):
    with pytest.raises(typer.Exit):
        layers.main(kernels="portable")
    assert "no dense kernels" in capsys.readouterr().err


def test_neurons_of_every_kind_are_timed(capsys):
    dense_kernels()  # the loops need wide vectors to mean anything
    neurons.main(steps="1,3", runs=1)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["1", "3"]
    assert all(float(value) > 0 for row in rows for value in row[1:])
