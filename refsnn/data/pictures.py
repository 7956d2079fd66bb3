"""A folder of pictures a class: ``[train|test/]CLASS/*.png|jpg``, also inside a tar archive; needs Pillow."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refsnn.data import Dataset
from refsnn.data.trees import Tree
from refsnn.errors import InputError, require

ENDINGS = (".png", ".jpg", ".jpeg")


def read(tree: Tree) -> tuple[Dataset, Dataset | None] | None:
    """Pictures by class, the classes numbered in the order of their names; None where the tree has no such form.

    The first picture of every class comes first, then the second of every class and so on, so that any first part of
    the set has all classes. Where one picture has colours, all have three channels.

    Raises:
        InputError: a picture is damaged, of another size than the rest, transparent or of 16 bits; ``train`` and
            ``test`` have other classes; files that are no PNG or JPEG.
    """
    paths = [name.split("/") for name in tree.names]
    deep = [path for path in paths if len(path) > 1]  # a README beside the classes is none of them
    if not any(path[-1].lower().endswith(ENDINGS) for path in deep):
        return None
    divided = {path[0] for path in deep} <= {"train", "test"} and any(path[0] == "test" for path in deep)
    depth = 3 if divided else 2
    strange = ["/".join(path) for path in deep if len(path) != depth or not path[-1].lower().endswith(ENDINGS)]
    if strange:
        form = "SPLIT/CLASS/PICTURE" if divided else "CLASS/PICTURE"
        raise InputError(
            f"{tree.source}: '{strange[0]}' ({len(strange)} such files) is no {form} with the ending "
            f"{', '.join(ENDINGS)}; remove or convert them"
        )
    members: dict[str, dict[str, list[str]]] = {}
    for path in deep:
        split = path[0] if divided else "test"
        members.setdefault(split, {}).setdefault(path[-2], []).append("/".join(path))
    classes = sorted(members["test"])
    if "train" in members and sorted(members["train"]) != classes:
        different = sorted(set(classes) ^ set(members["train"]))
        raise InputError(f"{tree.source}: train and test have other classes: {', '.join(different[:5])}")
    splits = {split: _in_turn([groups[name] for name in classes]) for split, groups in members.items()}
    decoded = _decode(tree, [name for order in splits.values() for name, _ in order])
    name = tree.source.resolve().name.partition(".")[0]

    def dataset(split: str) -> Dataset:
        return Dataset(
            images=np.ascontiguousarray([decoded[path] for path, _ in splits[split]]),
            labels=np.array([label for _, label in splits[split]], np.int64),
            class_names=tuple(classes),
            name=name,
        )

    return dataset("test"), dataset("train") if "train" in splits else None


def _in_turn(classes: list[list[str]]) -> list[tuple[str, int]]:
    """Paths with labels: the first of each class, the second of each, ..."""
    order = sorted((index, label, path) for label, paths in enumerate(classes) for index, path in enumerate(paths))
    return [(path, label) for _, label, path in order]


def _decode(tree: Tree, names: list[str]) -> dict[str, NDArray[np.uint8]]:
    """Pictures as ``(C, H, W)``."""
    pillow = require("PIL.Image", "images")
    pictures = {name: _picture(pillow, content, f"{tree.source}, {name}") for name, content in tree.read(names)}
    colours = any(picture.ndim == 3 for picture in pictures.values())
    expected = next(iter(pictures.values())).shape[:2]
    for name, picture in pictures.items():
        if picture.shape[:2] != expected:
            raise InputError(
                f"{tree.source}, {name}: {picture.shape[0]}x{picture.shape[1]} pixels, others have "
                f"{expected[0]}x{expected[1]}; bring all pictures to one size"
            )
        maps = np.moveaxis(np.atleast_3d(picture), 2, 0)
        pictures[name] = np.broadcast_to(maps, (3, *expected)) if colours else maps
    return pictures


def _picture(pillow: Any, content: bytes, where: str) -> NDArray[np.uint8]:
    try:
        with pillow.open(io.BytesIO(content), formats=("PNG", "JPEG")) as picture:
            mode = picture.mode
            if mode == "1":
                return np.asarray(picture.convert("L"))
            if mode == "P" and "transparency" not in picture.info:
                return np.asarray(picture.convert("RGB"))
            if mode in ("L", "RGB"):
                return np.asarray(picture)
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        raise InputError(f"{where}: is no readable PNG or JPEG ({error})") from error
    raise InputError(f"{where}: has the mode {mode}; 8-bit grey or RGB without transparency was expected")
