"""Reading any network file, told apart by what is inside, never by its name."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from refsnn import files
from refsnn.ann import Model, keras, nir, project
from refsnn.errors import InputError

_READERS = {
    "keras": keras.read,
    "keras-archive": keras.read_archive,
    "refsnn-ann": project.read,
    "nir": nir.read,
}


def read(path: str | os.PathLike[str]) -> Model:
    """Read a trained network: a Keras file or archive, the project's own ``refsnn-ann``, or a NIR graph.

    Raises:
        InputError: the file is none of these, damaged, or holds something that is not supported; the message names
            the file and the layer, and says what to do.
    """
    kind = kind_of(path)
    if kind in _READERS:
        return _READERS[kind](path)
    if kind == "weights-only":
        raise InputError(
            f"{path}: holds weights without the network's architecture; load them into the model that they belong to "
            f"and {keras.WHOLE_MODEL}"
        )
    if kind == "refsnn-network":
        raise InputError(
            f"{path}: is an integer network, already converted, where a trained network was expected; "
            "load it with refsnn.network.Network.load"
        )
    raise InputError(f"{path}: has the schema '{kind}', which is not a network")


def kind_of(path: str | os.PathLike[str]) -> str:
    """What a file holds.

    Returns:
        ``keras`` (whole-model HDF5), ``keras-archive``, ``weights-only`` (Keras weights without architecture), ``nir``,
        or the schema of one of the project's own files (``refsnn-ann``, ``refsnn-network``...).

    Raises:
        InputError: the file is missing, damaged, or nothing of that kind; the message says what to do.
    """
    source = Path(path)
    if source.is_dir() and (source / "saved_model.pb").exists():
        raise InputError(f"{path}: is a TensorFlow SavedModel; load it with Keras and {keras.WHOLE_MODEL}")
    if source.is_file() and _is_onnx(source):
        raise InputError(f"{path}: is an ONNX file; make a refsnn-ann file of it with: python -m tools.onnx {path}")
    if source.is_file() and zipfile.is_zipfile(source):
        return _kind_of_archive(source)
    with files.open_hdf5(path) as file:
        if "schema" in file.attrs:
            return files.text(file.attrs["schema"])
        if "model_config" in file.attrs:
            return "keras"
        if any(key in file.attrs for key in ("layer_names", "layer_names0")) or any(
            key in file
            for key in ("model_weights", "layers", "_layer_checkpoint_dependencies", "top_level_model_weights")
        ):
            return "weights-only"
        if nir.is_nir(file):
            return "nir"
        raise InputError(
            f"{path}: is HDF5, but no network that is known here; Keras whole models, refsnn-ann, refsnn-network and "
            "NIR files are read"
        )


def _is_onnx(path: Path) -> bool:
    """Whether a file begins as ONNX's protobuf does: a small version number, then another of the model's fields."""
    with path.open("rb") as file:
        head = file.read(3)
    return len(head) == 3 and head[0] == 0x08 and head[1] < 0x20 and head[2] in b"\x12\x1a\x22\x28\x32\x3a\x42"


def _kind_of_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{path}: is a damaged zip archive ({error}); copy or save it again") from error
    if "config.json" in names:
        return "keras-archive"
    if any(name.endswith("data.pkl") for name in names):
        raise InputError(
            f"{path}: is a PyTorch file; make a refsnn-ann file of it with: python -m tools.checkpoints {path} (its "
            "options are in docs/training.md)"
        )
    raise InputError(f"{path}: is a zip archive without a Keras model (no config.json)")
