"""The page of results: the machinery on random weights, what is missing said so, and going on where it was stopped."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from refsnn.ann import project
from refsnn.ann.graph import Preprocessing
from refsnn.data import Dataset
from refsnn.sweep import perform as sweeping
from refsnn.sweep.local import Here
from tests.small import classifier, images
from tests.sweep.helpers import Counting
from tools.reproduction import command, entries, page, published

ROOT = Path(__file__).parents[2]
STEPS, BITS = (2, 32), (8, 4)


def tables(text: str) -> dict[str, list[list[str]]]:
    """Rows of the tables by heading; every row below the column names."""
    found: dict[str, list[list[str]]] = {}
    for block in re.split(r"^#+ ", text, flags=re.M)[1:]:
        rows = [line.strip("|").split("|") for line in block.splitlines() if line.startswith("|")]
        found[block.splitlines()[0]] = [[cell.strip() for cell in row] for row in rows[2:]]
    return found


@pytest.fixture(scope="module")
def random_resnet20(tmp_path_factory) -> Path:
    """A network of the papers' shape with random weights, and random images inside."""
    torch = pytest.importorskip("torch")
    from tools import activations, networks
    from tools.export import export

    torch.manual_seed(0)
    module = networks.build("resnet20", (3, 8, 8), 10, lambda: activations.QCFS(4), 4)
    random = np.random.default_rng(0)
    data = Dataset(
        images=random.integers(0, 256, (6, 3, 8, 8), np.uint8), labels=random.integers(0, 10, 6), name="random"
    )
    path = tmp_path_factory.mktemp("random") / "cifar10-resnet20-qcfs.h5"
    project.write(path, export(module, (3, 8, 8), Preprocessing(scale=255)), writer="the tests", test=data)
    return path


def test_random_weights_go_through_the_whole_machinery(random_resnet20, tmp_path):
    common = {"network": "ResNet-20", "activation": "QCFS, L = 4", "data": entries.JPEG}
    ours = entries.Entry(name="ours", weights=random_resnet20, **common)
    absent = entries.Entry(name="absent", weights=None, missing="not trained", **{**common, "network": "VGG-16"})
    request = command._request(ours, STEPS, None, 1, tmp_path)
    sweep = sweeping.perform(request, Here(), tmp_path / "ours", bits=BITS)
    text = page.page([(ours, sweep), (absent, None)], steps=STEPS, bits=BITS, command="the command")
    found = tables(text)

    overview = found["Accuracy with 8-bit weights, in percent"]
    assert [row[4] for row in overview[:-1]] == ["ecl", "qcfs = opi", "spikeconverter", "spikeconverter-rate"]
    assert overview[-1] == ["VGG-16, QCFS, L = 4", entries.JPEG, "not trained"]
    for bits in BITS:
        rows = found[f"{bits}-bit weights"]
        assert len(rows) == 4 * len(STEPS)
        assert ["spikeconverter", "32", "needs 34 bits or more"] in rows
        runs = {(run.method, str(run.steps)): run for run in sweep.results[bits].runs}
        for method, t, *cells in rows:
            if len(cells) > 1:
                run = runs[method.partition(" ")[0], t]
                assert cells[0] == f"{100 * run.accuracy:.2f} %"
                assert cells[3] == f"{run.spikes_per_image:,.0f}"
                # 19 convolutions that integrate and the dense layer, each a window behind the one before
                assert int(cells[5]) == run.steps * (20 if run.method.startswith("spikeconverter") else 1)
    papers = found["Beside the papers"]
    assert len(papers) == len(published.FIGURES)
    vgg = [row for row in papers if row[1] == "VGG-16"]
    assert vgg
    assert all(row[-1] == "not trained" for row in vgg)
    (row,) = [row for row in papers if row[:3] == ["qcfs", "ResNet-20", "2"]]
    run = next(run for run in sweep.results[8].runs if (run.method, run.steps) == ("qcfs", 2))
    ann = sweep.results[8].ann.accuracy
    figures = [f"{100 * value:.2f}" for value in (ann, run.accuracy, ann - run.accuracy)]
    assert row[7:] == [entries.JPEG, *figures]
    assert "re-encoded as low-quality JPEG" in text
    assert sweep.results[8].weights.sha256[:16] in text


@pytest.fixture
def places(tmp_path, monkeypatch) -> Path:
    """A world with two networks of which one is there, and a third that is not trained."""
    project.write(tmp_path / "small.h5", classifier(3.0), writer="the tests", test=images(40, seed=1))
    known = (
        entries.Entry(name="small", network="small", activation="QCFS", data="digits", weights=tmp_path / "small.h5"),
        entries.Entry(
            name="none", network="VGG-16", activation="QCFS", data=entries.JPEG, weights=None, missing="not trained"
        ),
    )
    monkeypatch.setattr(command, "entries", lambda places: known)
    return tmp_path


def reproduce(folder: Path, *arguments: str, status: int = 0):
    common = ["--steps", "1,2", "--bits", "8,4", "--workers", "1", "--work", f"{folder}/w", "--out", f"{folder}/r.md"]
    application = typer.Typer()
    application.command()(command.reproduce)
    result = CliRunner().invoke(application, [*arguments, *common])
    assert result.exit_code == status, (result.output, result.exception)
    return result


def test_the_command_goes_on_and_the_page_repeats(places, monkeypatch):
    reproduce(places, "--limit", "30")
    first = (places / "r.md").read_bytes()
    text = first.decode()
    assert "python tools/reproduce.py --steps 1,2 --bits 8,4 --limit 30" in text
    assert "| VGG-16, QCFS | CIFAR-10 (JPEG) | not trained |" in text
    assert "30 images of digits" in text
    victims = sorted(places.glob("w/small/blocks/*/*.h5"))[:2]
    for each in victims:
        each.unlink()
    counting = Counting()
    monkeypatch.setattr(command, "crew", lambda *_: nullcontext(counting))
    reproduce(places, "--limit", "30")
    assert sorted(counting.done) == sorted(each.stem for each in victims)
    assert (places / "r.md").read_bytes() == first
    reproduce(places, "none")
    assert tables((places / "r.md").read_text())["Accuracy with 8-bit weights, in percent"][0][2] == "not trained"
    assert "there is no network 'other'; there are small, none" in reproduce(places, "other", status=2).output


def test_what_is_there_and_what_is_not(tmp_path):
    found = {entry.name: entry for entry in entries.entries(entries.Places(data=tmp_path, fashion=tmp_path / "f"))}
    assert not found["digits"].missing
    assert found["fashion-resnet8"].missing == "not measured: f is not there"
    assert found["mlperf-resnet8"].missing == "not measured: pretrainedResnet.h5 is not there"
    recipes = {path.stem for path in (ROOT / "tools" / "recipes").glob("*.toml")}
    assert recipes < set(found)
    trained = tmp_path / "cifar10_vgg16_qcfs.h5"
    trained.touch()
    (tmp_path / "cifar10-jpeg.tar.gz").touch()
    places = entries.Places(data=tmp_path, weights=tmp_path)
    found = {entry.name: entry for entry in entries.entries(places)}
    assert found["cifar10-vgg16-qcfs"].weights == trained
    assert found["cifar10-vgg16-qcfs"].network == "VGG-16"
    assert not found["cifar10-vgg16-qcfs"].missing
    assert found["cifar10-resnet18-qcfs"].missing == "not trained"


def test_an_archive_of_images_is_unpacked_once(tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "picture").write_text("a")
    with tarfile.open(tmp_path / "pictures.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "test", "test")
    target = entries.unpacked(tmp_path / "pictures.tar.gz", tmp_path)
    assert (target / "test" / "picture").read_text() == "a"
    (target / "mark").touch()
    assert entries.unpacked(tmp_path / "pictures.tar.gz", tmp_path) == target
    assert (target / "mark").exists()
    assert entries.unpacked(tmp_path / "test", tmp_path) == tmp_path / "test"


def test_the_script_finds_its_own_modules_and_no_others():
    """Not those of its folder, which are named like others'."""
    arguments = [sys.executable, ROOT / "tools" / "reproduce.py", "--help"]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    assert "docs/results.md" in done.stdout
