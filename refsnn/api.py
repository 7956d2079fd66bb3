"""The Python interface: ``refsnn.load``, ``refsnn.convert`` and ``refsnn.simulate``."""

from __future__ import annotations

import os
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from refsnn import files
from refsnn.ann import Model, readers
from refsnn.ann.graph import Graph, Preprocessing
from refsnn.convert import Calibration, preset
from refsnn.convert import convert as convert_graph
from refsnn.data import Dataset
from refsnn.errors import InputError
from refsnn.network import SCHEMA, Network
from refsnn.simulate import Simulation
from refsnn.simulate import simulate as simulate_images


def load(path: str | os.PathLike[str]) -> Model | Network:
    """Read a network from a file of any kind that refsnn knows, told apart by content.

    Returns:
        A ``Model`` (the trained network, with the images inside the file), or a ``Network`` for a file that holds an
        integer network already.

    Raises:
        InputError: no such file, no kind that is known, or damaged.
    """
    if os.path.isfile(path) and h5py.is_hdf5(path):
        with files.open_hdf5(path) as file:
            converted = files.text(file.attrs.get("schema", "")) == SCHEMA
        if converted:
            return Network.load(path)
    return readers.read(path)


def convert(
    model: Model | Graph | str | os.PathLike[str],
    method: str = "ecl",
    steps: int | tuple[int, ...] = 4,
    *,
    calibration: NDArray[np.uint8] | Dataset | None = None,
    preprocessing: Preprocessing | None = None,
    threads: int = 0,
    **settings: Any,
) -> Network:
    """Convert a trained network to an integer spiking network.

    Args:
        model: what ``load`` returned, a graph, or a path.
        method: a preset (``refsnn.convert.METHODS``).
        steps: the T, or every T, that it is to run for.
        calibration: images to choose thresholds on, ``(N, C, H, W) uint8``, never the test images; None: those
            inside the model's file. Not needed where every threshold is learned.
        preprocessing: from pixel bytes to the network's input; None: what the file says, else raw bytes.
        threads: workers; 0: as many as there are processors.
        **settings: replace the preset's (fields of ``refsnn.convert.Settings``): ``weight_bits=4``, ``drain=-1``.

    Raises:
        InputError: what cannot be converted, and why; calibration images are needed and missing.
    """
    if isinstance(model, str | os.PathLike):
        loaded = load(model)
        if isinstance(loaded, Network):
            raise InputError(f"{os.fspath(model)}: is an integer network already; load it with refsnn.load")
        model = loaded
    graph = model.graph if isinstance(model, Model) else model
    if calibration is None and isinstance(model, Model):
        calibration = model.calibration
    images = calibration.images if isinstance(calibration, Dataset) else calibration
    preprocessing = preprocessing or graph.preprocessing or Preprocessing()
    statistics = None
    if images is not None:
        statistics = Calibration.measure(graph, images, preprocessing, threads=threads)
    chosen = preset(method, **settings)
    conversion = convert_graph(
        graph,
        chosen,
        steps,
        preprocessing=preprocessing,
        calibration=statistics,
        information=origin(model) if isinstance(model, Model) else None,
    )
    return conversion.network


def origin(model: Model) -> dict[str, str]:
    """What an integer network keeps of the file that it was made from."""
    return {"weights": model.path.name, "weights_sha256": model.sha256}


def simulate(
    network: Network, images: NDArray[np.uint8] | Dataset, steps: int | tuple[int, ...] = 4, **options: Any
) -> Simulation:
    """Run an integer network on images.

    Args:
        network: what ``convert`` or ``load`` returned.
        images: ``(N, C, H, W) uint8``, or a data set.
        steps: one T or several.
        **options: of ``refsnn.simulate.simulate``: ``threads``, ``batch``, ``kernels``, ``drain``.

    Returns:
        Logits, predictions and counters for every T.
    """
    pixels = images.images if isinstance(images, Dataset) else images
    return simulate_images(network, pixels, steps, **options)
