"""The main job on a network that no one here trained: MLPerf Tiny's ResNet-8 on original CIFAR-10 test images."""

from __future__ import annotations

import pytest

from refsnn.experiment import Request, perform

ORACLE = {
    ("opi", 8): 272,
    ("opi", 16): 480,
    ("opi", 32): 719,
    ("ecl", 4): 593,
    ("ecl", 8): 826,
    ("ecl", 16): 881,
    ("spikeconverter-rate", 4): 658,
    ("spikeconverter-rate", 8): 833,
    ("spikeconverter-rate", 16): 874,
    ("spikeconverter", 2): 522,
    ("spikeconverter", 3): 817,
    ("spikeconverter", 4): 876,
    ("spikeconverter", 5): 887,
}
"""Images of 1,017 that an independent float64 simulation of the same conversion gets right."""

LUCKIER = {("opi", 16), ("ecl", 4)}
"""Where rounding to 8 bits happens to gain more than the three points that it may differ."""


@pytest.mark.data
@pytest.mark.slow
def test_mlperf_tiny_resnet8(shared_data):
    """Where the oracle is above 75 %, the integers come within one point (10 images), elsewhere within three (30)."""
    steps: dict[str, tuple[int, ...]] = {}
    for method, each in ORACLE:
        steps[method] = (*steps.get(method, (1,)), each)
    right = {}
    for method, wanted in steps.items():
        results = perform(
            Request(
                weights=shared_data / "mlperf-tiny-ic" / "pretrainedResnet.h5",
                data=shared_data / "cifar10-lossless.npz",
                methods=(method,),
                steps=wanted,
                overrides={"threshold": "percentile:99.9"},
            )
        ).results
        assert results.data.images == 1017
        assert results.data.calibration_images == 1000
        assert round(results.ann.accuracy * 1017) == 895
        right |= {(run.method, run.steps): round(run.accuracy * 1017) for run in results.runs}
    assert len({right[method, 1] for method in steps}) == 1  # at T = 1 all give the same spikes
    for key, expected in ORACLE.items():
        tolerance = 10 if expected > 0.75 * 1017 else 30
        assert right[key] >= expected - tolerance, (key, right[key])
        assert right[key] <= expected + tolerance or key in LUCKIER, (key, right[key])
