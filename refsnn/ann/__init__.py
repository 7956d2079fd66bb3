"""Networks as files describe them: the graph, its readers, and its float forward pass. Nothing of spikes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from refsnn.ann.graph import Graph
from refsnn.data import Dataset


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """A network file's content.

    Attributes:
        graph: the network.
        path: the file.
        format: ``keras``, ``refsnn-ann`` or ``nir``.
        writer: which program wrote it, as far as it says (``Keras 2.4.0, backend tensorflow``).
        sha256: of the file's bytes.
        test, calibration: images inside the file, or None.
    """

    graph: Graph
    path: Path
    format: str
    writer: str
    sha256: str
    test: Dataset | None = None
    calibration: Dataset | None = None
