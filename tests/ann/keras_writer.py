"""Writes Keras files with h5py and json alone, in the layouts of Keras 1, 2 and 3, for the tests of the reader."""

from __future__ import annotations

import json

import h5py
import numpy as np


def layer(kind, name, reads=None, **settings):
    """The JSON of a Keras 2 layer; ``reads``: names of the layers that it reads, None in a Sequential."""
    entry = {"class_name": kind, "config": {"name": name, **settings}}
    if reads is not None:
        entry |= {"name": name, "inbound_nodes": [[[source, 0, 0, {}] for source in reads]] if reads else []}
    return entry


def sequential(*layers):
    return {"class_name": "Sequential", "config": {"name": "sequential", "layers": list(layers)}}


def functional(*layers, inputs=None, outputs=None):
    ends = {"input_layers": inputs or [layers[0]["name"]], "output_layers": outputs or [layers[-1]["name"]]}
    config = {"name": "model", "layers": list(layers)}
    return {"class_name": "Functional", "config": config | {key: [[n, 0, 0] for n in ends[key]] for key in ends}}


def write(path, model, weights, *, backend="tensorflow", version="2.4.0", chunk=None):
    """A whole-model HDF5 file.

    Args:
        path: the file to make.
        model: the model's JSON.
        weights: ``{layer: {weight name in the file: array}}``.
        backend: the attribute, None: left out.
        version: the attribute ``keras_version``.
        chunk: names in one attribute; None: all. Keras splits attributes above 64 KB.
    """

    def names(group, key, values):
        values = [value.encode() for value in values]
        if chunk is None:
            group.attrs[key] = values
        else:
            for start in range(0, max(1, len(values)), chunk):
                group.attrs[f"{key}{start // chunk}"] = values[start : start + chunk]

    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(model).encode()
        file.attrs["keras_version"] = version
        if backend is not None:
            file.attrs["backend"] = backend
        group = file.create_group("model_weights")
        names(group, "layer_names", list(weights))
        for name, arrays in weights.items():
            names(group.create_group(name), "weight_names", list(arrays))
            for key, array in arrays.items():
                group[name][key] = np.asarray(array, np.float32)
    return path


def single(path, kind, shape, arrays, **settings):
    """A file of one layer, ``layer``, behind an input of ``shape`` (as Keras writes it, without the batch)."""
    options = {key: settings.pop(key) for key in ("backend", "version") if key in settings}
    model = sequential(layer("InputLayer", "input", batch_input_shape=[None, *shape]), layer(kind, "layer", **settings))
    return write(path, model, {"layer": {f"layer/{key}:0": value for key, value in arrays.items()}}, **options)
