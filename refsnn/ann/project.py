"""The project's own ANN file, schema ``refsnn-ann``: what the exporters in ``tools/`` write (``docs/formats.md``)."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from refsnn import files
from refsnn.ann import Model, graph
from refsnn.data import Dataset, store
from refsnn.errors import InputError

SCHEMA = "refsnn-ann"
VERSION = 1

OPERATIONS: tuple[type[graph.Operation], ...] = (
    graph.Input,
    graph.Conv,
    graph.Dense,
    graph.BatchNorm,
    graph.ReLU,
    graph.MaxPool,
    graph.AveragePool,
    graph.Pad,
    graph.PadChannels,
    graph.Add,
    graph.Concatenate,
    graph.Flatten,
    graph.Reshape,
    graph.Softmax,
    graph.Sigmoid,
)


def write(
    path: str | os.PathLike[str],
    network: graph.Graph,
    *,
    writer: str,
    test: Dataset | None = None,
    calibration: Dataset | None = None,
) -> None:
    """Write a network, atomically, with test and calibration images inside if given.

    Args:
        path: the file to make.
        network: the graph; its float64 arrays are stored as float32 where that loses nothing, so weights that were
            trained in single precision come back bit for bit.
        writer: which program made the network, for ``refsnn inspect``.
        test, calibration: stored under ``/test`` and ``/calibration``.
    """
    with files.create(path, SCHEMA, VERSION) as file:
        file.attrs["writer"] = writer
        if network.preprocessing is not None:
            file.attrs["preprocessing"] = json.dumps(asdict(network.preprocessing))
        files.write_records(file.create_group("operations"), network.operations)
        for role, data in (("test", test), ("calibration", calibration)):
            if data is not None:
                store.put(file.create_group(role), data)


def read(path: str | os.PathLike[str]) -> Model:
    """Read such a file.

    Raises:
        InputError: another schema, a newer version, a damaged file, or a network that does not fit together.
    """
    with files.open_hdf5(path) as file:
        files.check_schema(file, path, SCHEMA, VERSION)
        try:
            stated = file.attrs.get("preprocessing")
            preprocessing = None
            if stated is not None:
                values = json.loads(files.text(stated))
                preprocessing = graph.Preprocessing(
                    scale=values["scale"], mean=tuple(values["mean"]), std=tuple(values["std"])
                )
            operations = files.read_records(file["operations"], OPERATIONS, {})
            network = graph.Graph(operations=operations, preprocessing=preprocessing)
            data = {role: store.get(file[role]) for role in ("test", "calibration") if role in file}
        except (KeyError, TypeError, json.JSONDecodeError, OSError) as error:
            raise InputError(f"{path}: is damaged: {error}; export the network again") from error
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        writer = files.text(file.attrs.get("writer", "unknown"))
    return Model(
        graph=network,
        path=Path(path),
        format=SCHEMA,
        writer=writer,
        sha256=files.sha256(path),
        test=data.get("test"),
        calibration=data.get("calibration"),
    )
