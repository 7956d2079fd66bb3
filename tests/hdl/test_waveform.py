"""The picture of a neuron: made again, and what was recorded against the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from hdl import waveform
from hdl.neuron import Neuron
from refsnn.neurons import fire

PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "neuron.svg"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[int]], Neuron]:
    path = tmp_path_factory.mktemp("waveform") / "neuron.vcd"
    neuron = waveform.record(path)
    return waveform.read(path), neuron


def test_the_picture_is_what_the_command_draws(recorded: tuple[dict[str, list[int]], Neuron]) -> None:
    """If this fails, make it again: python -m hdl.waveform --out docs/pictures/neuron.svg"""
    assert waveform.draw(*recorded) == PICTURE.read_text(encoding="utf-8")


def test_the_recording_is_the_contract(recorded: tuple[dict[str, list[int]], Neuron]) -> None:
    trace, neuron = recorded
    ends = [cycle for cycle, stored in enumerate(trace["stored"]) if stored]
    assert ends == [neuron.latency + neuron.revisit * beat for beat in range(4)]
    assert [cycle for cycle, fired in enumerate(trace["fired"]) if fired] == ends[1:]
    v, n, spikes = waveform.INITIAL, 0, []
    for current, end in zip(waveform.CURRENTS, ends[1:], strict=True):
        u = v + current
        spike = fire(u, n, waveform.THRESHOLD, waveform.NEGATIVE_THRESHOLD, waveform.LOW, waveform.HIGH)
        v, n = u - spike * waveform.THRESHOLD, n + spike
        spikes.append(spike)
        assert waveform.signed(trace["before"][end - 1], 24) == u
        assert (0, 1, None, -1)[trace["spike"][end]] == spike
        assert waveform.signed(trace["after.membrane"][end], 24) == v
        assert waveform.signed(trace["after.count"][end], 8) == n
    assert spikes == [1, -1, 0]
    assert u < -waveform.NEGATIVE_THRESHOLD  # the last one is blocked by the gate


def test_a_recording_is_read_cycle_by_cycle(tmp_path: Path) -> None:
    path = tmp_path / "small.vcd"
    path.write_text(
        '$var wire 1 ! clk $end\n$var wire 4 " \\bus.part $end\n$var string 1 # name $end\n$enddefinitions $end\n'
        '#0\n0!\nb11 "\nsNO #\n#5\n1!\nb101 "\n#10\n0!\n#15\n1!\n'
    )
    assert waveform.read(path) == {"clk": [0, 0], "bus.part": [3, 5], "name": [0, 0]}
