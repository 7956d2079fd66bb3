"""A whole network: MLPerf Tiny's ResNet-8 on one CIFAR-10 image, within bounds of time and memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

import golden
from golden.check import check
from refsnn.api import convert, load
from refsnn.data.readers import read
from tests.golden.cases import ROOT

SECONDS = 60
MEGABYTES = 600
MEASURE = """
import resource, subprocess, sys, time
begin = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""


def _measured(command):
    """Seconds and peak megabytes of a command.

    A small process starts it: Linux counts the memory of whoever starts a process as the process's own peak.
    """
    process = [sys.executable, "-c", MEASURE, *map(str, command)]
    answer = subprocess.run(process, cwd=ROOT, capture_output=True, text=True, check=True)
    return map(float, answer.stdout.split())


@pytest.mark.data
@pytest.mark.slow
def test_resnet8_for_one_image(shared_data, tmp_path):
    data = shared_data / "cifar10-lossless.npz"
    model = load(shared_data / "mlperf-tiny-ic" / "pretrainedResnet.h5")
    images = read(data, (3, 32, 32)).test.images
    network = convert(model, "spikeconverter", 4, calibration=images[:100], threshold="percentile:99.9")
    network.save(tmp_path / "network.h5")
    command = [sys.executable, "-m", "golden", tmp_path / "network.h5", "--data", data, "--out"]
    # Compiling takes time and memory of its own, once.
    subprocess.run(list(map(str, [*command, tmp_path / "first"])), cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    seconds, megabytes = _measured([*command, tmp_path / "case"])
    assert seconds < SECONDS
    assert megabytes < MEGABYTES
    checked = check(tmp_path / "case")
    assert checked.numbers > 1_000_000
    assert golden.load(tmp_path / "case").manifest.images.source == "image 0 of cifar10-lossless.npz, counted from 0"
