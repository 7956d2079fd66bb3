"""MLPerf Tiny's ResNet-8, its own weights and a real image, layer by layer on the compiled core."""

from __future__ import annotations

import pytest

import refsnn
from hdl.compiled import Compiled
from hdl.parameters import Parameters
from refsnn.data.readers import read
from tests.hdl.layers import Reference, compare

CORE = {"channels": 8, "rows": 1, "pixels": 4, "columns": 4, "event_words": 4096, "weight_words": 8192}


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(("method", "steps"), [("spikeconverter", 4), ("ecl", 4), ("spikeconverter-rate", 3)])
def test_every_layer(method, steps, shared_data, cores):
    """Bit for bit, and the lanes are busy though silent rows are skipped."""
    model = refsnn.load(shared_data / "mlperf-tiny-ic" / "pretrainedResnet.h5")
    images = read(shared_data / "cifar10-lossless.npz", (3, 32, 32))
    network = refsnn.convert(
        model, method, steps, calibration=images.train.images[:300], threshold="percentile:99.9", membrane_bits=20
    )
    machine = Compiled(Parameters(**CORE, membrane_bits=20, trace=False), cores)
    reference = Reference(network, images.test.images[7:8], steps)
    ran, refused = compare(network, images.test.images[7:8], steps, machine, reference)
    assert not refused
    assert len(ran) == 8
    assert machine.dropped > 1000  # silent rows are skipped
    assert machine.active > 0.8 * machine.cycles
