"""Whole models that Keras saved, read with h5py and json alone: HDF5 of Keras 1 to 3, and ``.keras`` archives.

Layouts (from the writers' source code): HDF5 holds the JSON ``model_config`` in a root attribute and a group a layer in
``model_weights``, whose attribute ``weight_names`` gives the order; attributes above 64 KB are split into
``weight_names0``, ``weight_names1``... An archive is a zip of ``config.json``, ``metadata.json`` and
``model.weights.h5``, with ``layers/conv2d_1/vars/0`` for the first weight of the second Conv2D.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from refsnn import files
from refsnn.ann import Model
from refsnn.ann.graph import Array, Graph
from refsnn.ann.keras_config import Call, calls
from refsnn.ann.keras_layers import Builder, Role, Weights
from refsnn.errors import InputError

WHOLE_MODEL = "save the whole model (model.save('network.keras') or model.save('network.h5')), not only its weights"

# Keras 1 does not say, and Theano's files differ; Keras 2 reads them so too.
_NO_BACKEND = "backend not recorded: read as TensorFlow's; if it was Theano, set the file's attribute backend to theano"
_BACKENDS = {"tensorflow": "TensorFlow", "theano": "Theano", "cntk": "CNTK", "jax": "JAX", "torch": "PyTorch"}


def read(path: str | os.PathLike[str]) -> Model:
    """Read a whole-model HDF5 file.

    Raises:
        InputError: no architecture in the file, a layer that is not supported, weights that do not fit; the message
            names the file and the layer.
    """
    with files.open_hdf5(path) as file, _named(path):
        if "model_config" not in file.attrs:
            raise InputError(f"holds no architecture (no attribute 'model_config'); {WHOLE_MODEL}")
        group = file.get("model_weights")
        if not isinstance(group, h5py.Group):
            raise InputError(f"holds an architecture but no weights (no group 'model_weights'); {WHOLE_MODEL}")
        version, backend = (
            files.text(file.attrs.get(key, group.attrs.get(key, ""))) for key in ("keras_version", "backend")
        )
        network = _build(files.text(file.attrs["model_config"]), _GroupWeights(group), backend or "tensorflow")
    named = _BACKENDS.get(backend, backend)
    described = f"{named} backend" if named else _NO_BACKEND
    return _model(path, network, "keras", f"Keras {version or '1'}, {described}")


def read_archive(path: str | os.PathLike[str]) -> Model:
    """Read a ``.keras`` archive.

    Raises:
        InputError: as ``read``, or a damaged archive.
    """
    with _named(path):
        try:
            with zipfile.ZipFile(path) as archive:
                config = archive.read("config.json").decode("utf-8")
                metadata = json.loads(archive.read("metadata.json"))
                stored = archive.read("model.weights.h5")
        except KeyError as error:
            raise InputError(f"is a zip archive but not a whole Keras model ({error}); {WHOLE_MODEL}") from error
        except (zipfile.BadZipFile, OSError, ValueError, EOFError) as error:
            raise InputError(f"is a damaged archive ({error}); copy or save it again") from error
        try:
            file = h5py.File(io.BytesIO(stored), "r")
        except OSError as error:
            raise InputError(f"model.weights.h5 inside is damaged ({error}); save it again") from error
        with file:
            network = _build(config, _ArchiveWeights(file), "tensorflow")
    return _model(path, network, "keras-archive", f"Keras {metadata.get('keras_version', '3')}")


def _build(config: str, weights: Weights, backend: str) -> Graph:
    try:
        layers = calls(json.loads(config))
    except (KeyError, TypeError, IndexError, AttributeError, json.JSONDecodeError) as error:
        raise InputError(f"its architecture is damaged ({error!r}); save the model again") from error
    try:
        network = Builder(layers, weights, backend).build()
        weights.check_all_read()
    except (OSError, KeyError) as error:
        raise InputError(f"its weights are damaged ({error}); copy or save the file again") from error
    return network


def _model(path: str | os.PathLike[str], network: Graph, kind: str, writer: str) -> Model:
    return Model(graph=network, path=Path(path), format=kind, writer=writer, sha256=files.sha256(path))


@contextmanager
def _named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Puts the file's name in front of errors."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


class _GroupWeights:
    """The group ``model_weights``: weights are told apart by their names, which differ between versions of Keras."""

    def __init__(self, group: h5py.Group) -> None:
        self._layers: dict[str, list[str]] = {}
        self._group = group
        for name in _texts(group, "layer_names"):
            if name not in group:
                raise InputError(f"layer '{name}': its weights are missing in the file; save it again")
            self._layers[name] = _texts(group[name], "weight_names")
        self._unread = {(layer, name) for layer, names in self._layers.items() for name in names}

    def take(self, call: Call, roles: tuple[Role, ...], optional: tuple[Role, ...] = ()) -> list[Array]:
        """See ``refsnn.ann.keras_layers.Weights``."""
        own = call.layers[-1]
        top = next((layer for layer in call.layers if layer in self._layers), None) or self._owner(own, roles)
        names = self._layers.get(top, [])
        if top != own:
            names = [name for name in names if _belongs(name, own, (*roles, *optional))]
        found: dict[Role, str] = {}
        for name in names:
            role = _role(name, (*roles, *optional))
            if role is None:
                continue
            if role in found:
                raise InputError(f"{call.label}: two weights could be its {role[0]}: '{found[role]}' and '{name}'")
            found[role] = name
            self._unread.discard((top, name))
        for role in roles:
            if role not in found:
                raise InputError(f"{call.label}: its {role[0]} is missing; the file has {names or 'no weights for it'}")
        return [_array(call, found[role], self._group[top].get(found[role])) for role in roles]

    def _owner(self, own: str, roles: tuple[Role, ...]) -> str:
        """The group with the weights of a layer in a nested Sequential, whose name Keras 1 does not tell."""
        owners = (group for group, names in self._layers.items() if any(_belongs(name, own, roles) for name in names))
        return next(owners, "")

    def check_all_read(self) -> None:
        """See ``refsnn.ann.keras_layers.Weights``."""
        _check_none_left(f"{layer}: {name}" for layer, name in self._unread)


class _ArchiveWeights:
    """``model.weights.h5`` of an archive: a layer's weights are numbered in the order in which Keras makes them."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self._unread: set[str] = set()
        # The optimiser's state lies beside the layers and is of no interest.
        for top in ("layers", _OLD_LAYERS):
            if top in file:
                file[top].visititems(self._note)

    def _note(self, _: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Dataset):
            self._unread.add(item.name)

    def take(self, call: Call, roles: tuple[Role, ...], optional: tuple[Role, ...] = ()) -> list[Array]:
        """See ``refsnn.ann.keras_layers.Weights``."""
        place = "/".join(call.place)
        if place not in self._file:
            place = "/".join(_OLD_LAYERS if part == "layers" else part for part in call.place)
        group = self._file.get(f"{place}/vars", {})
        for index, role in enumerate(roles):
            if str(index) not in group:
                raise InputError(
                    f"{call.label}: its {role[0]} is missing; model.weights.h5 has {len(group)} weights in "
                    f"'{'/'.join(call.place)}', {len(roles)} were expected"
                )
        for index in range(len(roles) + len(optional)):
            self._unread.discard(f"/{place}/vars/{index}")
        return [_array(call, f"{place}/vars/{index}", group[str(index)]) for index in range(len(roles))]

    def check_all_read(self) -> None:
        """See ``refsnn.ann.keras_layers.Weights``."""
        _check_none_left(name.strip("/") for name in self._unread)


_OLD_LAYERS = "_layer_checkpoint_dependencies"
"""What TensorFlow 2.12 called ``layers`` in its first archives."""


def _check_none_left(names: Iterable[str]) -> None:
    # Dropout and augmentation keep the state of their random numbers, which does nothing at inference.
    left = sorted(name for name in names if "seed_generator" not in name)
    if left:
        raise InputError(f"holds weights that no layer uses: {', '.join(left)}; save the model again")


def _texts(group: h5py.Group, key: str) -> list[str]:
    """An attribute with a list of names, which Keras splits into numbered ones above 64 KB."""
    if key in group.attrs:
        return [files.text(name) for name in group.attrs[key]]
    parts: list[Any] = []
    while f"{key}{len(parts)}" in group.attrs:
        parts.append(group.attrs[f"{key}{len(parts)}"])
    if not parts:
        raise InputError(f"'{group.name}' has no attribute '{key}'; the file is damaged: save the model again")
    return [files.text(name) for part in parts for name in part]


def _belongs(name: str, layer: str, roles: tuple[Role, ...]) -> bool:
    """Whether a weight of a submodel is that layer's: ``conv2d/kernel:0``, or ``conv2d_W`` in Keras 1."""
    path = name.partition(":")[0].split("/")
    if len(path) > 1:
        return path[-2] == layer
    return any(path[0] == f"{layer}_{word}" for role in roles for word in role)


def _role(name: str, roles: tuple[Role, ...]) -> Role | None:
    """Which role a weight's name (``conv2d/kernel:0``, ``dense_1_W``, ``bn/moving_mean_2:0``) ends in, if any."""
    last = name.rpartition("/")[2].partition(":")[0]
    matches = [
        (len(word), role) for role in roles for word in role if re.fullmatch(rf"(.*_)?{re.escape(word)}(_\d+)?", last)
    ]
    return max(matches, key=lambda match: match[0])[1] if matches else None


def _array(call: Call, name: str, dataset: Any) -> Array:
    if not isinstance(dataset, h5py.Dataset):
        raise InputError(f"{call.label}: there is no array '{name}' in the file; it is damaged: save the model again")
    if dataset.dtype.kind != "f":
        raise InputError(
            f"{call.label}: '{name}' holds {dataset.dtype}; floating-point numbers were expected: save the network in "
            "float32, before any quantisation"
        )
    return np.asarray(dataset[()], dtype=np.float64)
