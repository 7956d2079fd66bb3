"""A whole network: MLPerf Tiny's ResNet-8 on one CIFAR-10 image, within bounds of time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

import golden
from golden.check import check
from refsnn.api import convert, load
from refsnn.data.readers import read
from tests.golden.cases import ROOT

SECONDS = 60
MEGABYTES = 600


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
    begin = time.perf_counter()
    command.append(tmp_path / "case")
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert time.perf_counter() - begin < SECONDS
    assert usage.ru_maxrss / 1024 < MEGABYTES
    checked = check(tmp_path / "case")
    assert checked.numbers > 1_000_000
    assert golden.load(tmp_path / "case").manifest.images.source == "image 0 of cifar10-lossless.npz, counted from 0"
