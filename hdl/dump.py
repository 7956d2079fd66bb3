"""Words that a core sent, as a testbench or a board wrote them down, as the text that ``golden diff`` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden import hexfile
from golden.case import Case
from hdl.collector import word_layout
from hdl.sidecar import FILE, JobRecord, LayerRecord, Sidecar, read
from hdl.words import unpack_events
from refsnn import files
from refsnn.errors import InputError


def convert(core: Path, words: Path, case: Case, image: int, out: Path) -> list[str]:
    """Write ``OUT/IMAGE/STEM.QUANTITY.hex`` for every layer of which there are words.

    What did not come is unknown (x). The readout of a rate network is left out: a case has its membranes of every
    step, a core sends the last ones.

    Args:
        core: the exported folder.
        words: lines ``STEM JOB WORD``, the word in hexadecimal.
        case: a golden case of the network; it says how many steps the image ran.
        image: of the case.
        out: the folder.

    Returns:
        the layers that were written.

    Raises:
        InputError: no exported core, another network's case, a line that is no word of the core, one that came twice.
    """
    record = read(core / FILE)
    if record.network.digest != case.network.digest():
        raise InputError(
            f"{case.path}: its network has the digest {case.network.digest()}, that of {core} {record.network.digest}"
        )
    if not 0 <= image < len(case):
        raise InputError(f"{case.path}: has no image {image}; there are {len(case)}, counted from 0")
    maps = _Maps(record, words)
    written = []
    for layer in record.layers:
        if layer.stem not in maps.values:
            continue
        found, known = maps.values[layer.stem], maps.known[layer.stem]
        quantity, bits, steps = _shape(layer, case, image)
        if layer.membranes and steps > 1:
            continue
        if layer.static:
            weights = 1 << np.arange(layer.columns, dtype=np.int64)[::-1]
            found, known = np.tensordot(weights, found, axes=1)[None], np.asarray(known.all(axis=0))[None]
        elif not layer.membranes:
            steps = max([steps, *(np.argwhere(found)[:, 0] + 1)])
            found, known = found[:steps], known[:steps]
        path = out / str(image) / f"{layer.stem}.{quantity}.hex"
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, _text(found, known, bits))
        written.append(layer.name)
    if not written:
        raise InputError(f"{words}: holds nothing to compare with {case.path}")
    return written


def _shape(layer: LayerRecord, case: Case, image: int) -> tuple[str, int, int]:
    """Quantity, bits of a field, and steps of a layer's array in the case."""
    quantity = "membrane" if layer.membranes else "events"
    return quantity, case.array(layer.name, quantity).bits, len(case.read(layer.name, quantity, image))


def _text(values: NDArray[np.int64], known: NDArray[np.bool_], bits: int) -> str:
    """As ``golden.hexfile`` packs it; digits that hold something unknown are x."""
    width = values.shape[-1]
    digits = hexfile.digits_of(width, bits)
    text = np.frombuffer(hexfile.pack(values, bits), np.uint8).reshape(-1, digits + 1).copy()
    unknown = np.zeros((len(text), digits * 4), np.bool_)
    unknown[:, : width * bits] = np.repeat(~known.reshape(-1, width), bits, axis=1)
    text[:, :digits][np.asarray(unknown.reshape(-1, digits, 4).any(axis=2))[:, ::-1]] = ord("x")
    return text.tobytes().decode()


class _Maps:
    """The words as maps: ``values`` and ``known``, by stem, ``(L, C, H, W)``; membranes are one step."""

    def __init__(self, record: Sidecar, words: Path) -> None:
        self.record, self.words = record, words
        self.layers = {layer.stem: layer for layer in record.layers}
        self.values: dict[str, NDArray[np.int64]] = {}
        self.known: dict[str, NDArray[np.bool_]] = {}
        self.layout = word_layout(record.parameters)
        try:
            lines = words.read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{words}: cannot be read ({error})") from error
        for number, line in enumerate(lines, 1):
            self._line(line, f"{words}, line {number}")

    def _line(self, line: str, where: str) -> None:
        try:
            stem, job, digits = line.split()
            layer = self.layers[stem]
            place = layer.jobs[int(job)]
            word = None if set(digits.lower()) & {"x", "z"} else int(digits, 16)
        except (ValueError, KeyError, IndexError) as error:
            raise InputError(
                f"{where}: '{line[:60]}' is no word of this core; STEM JOB WORD was expected, the word in hexadecimal"
            ) from error
        if stem not in self.values:
            shape = (1 if layer.membranes else layer.columns, *layer.shape)
            self.values[stem], self.known[stem] = np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
        if word is not None:
            self._store(layer, place, word, where)

    def _field(self, word: int, name: str) -> int:
        field = self.layout[name]
        return word >> int(field.offset) & ((1 << int(field.width)) - 1)

    def _store(self, layer: LayerRecord, job: JobRecord, word: int, where: str) -> None:
        parameters = self.record.parameters
        channel, row, group, index = (self._field(word, name) for name in ("channel", "row", "group", "index"))
        if channel >= job.channels or row >= job.rows or group >= job.groups or index >= job.each:
            raise InputError(f"{where}: the word is of channel {channel}, row {row}, group {group}, outside the layer")
        data = self._field(word, "data")
        first = group * parameters.pixels
        if layer.membranes:
            columns, pixels = slice(0, 1), slice(first + index, first + index + 1)
            sign = 1 << parameters.state_bits - 1
            part: NDArray[Any] = np.array([[((data & (2 * sign - 1)) ^ sign) - sign]])
        else:
            begin = index * parameters.columns - layer.lead
            columns = slice(max(begin, 0), begin + parameters.columns)
            pixels = slice(first, first + parameters.pixels)
            bits = np.array([data >> bit & 1 for bit in range(parameters.word_bits)], np.uint8)
            part = unpack_events(bits, parameters).T[columns.start - begin :]
        target = self.values[layer.stem][columns, job.channel + channel, row, pixels]
        known = self.known[layer.stem][columns, job.channel + channel, row, pixels]
        if known.any():
            raise InputError(f"{where}: the word came twice")
        target[:] = part[: target.shape[0], : target.shape[1]]
        known[:] = True
