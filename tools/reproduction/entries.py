"""Which networks on which images: those that ship, MLPerf Tiny's, and one for each recipe of ``tools/recipes``."""

from __future__ import annotations

import os
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
FASHION = "Fashion-MNIST"
JPEG = "CIFAR-10 (JPEG)"
ABOUT = {
    FASHION: "the official test set, 28 x 28 grey",
    JPEG: "the official split re-encoded as low-quality JPEG (about 30 dB), on which a ResNet-20 trained on the "
    "original images loses eleven points: losses by conversion compare with the papers', accuracies do not",
    "CIFAR-10": "lossless, but only the first 1,017 of the 10,000 official test images",
    "digits": "scikit-learn's, 8 x 8 grey, the last 1,000 of 1,797",
}
"""What is special about each data set, as it is used here."""

_NETWORKS = {
    "resnet8": "ResNet-8",
    "resnet18": "ResNet-18",
    "resnet20": "ResNet-20",
    "resnet34": "ResNet-34",
    "vgg16": "VGG-16",
    "mobilenet": "MobileNet-v2",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A network and the images that it is measured on.

    Attributes:
        name: of its folder and for the command.
        network: as the papers call it.
        activation: what it was trained with.
        data: what the data set is called, a key of ``ABOUT``.
        weights: its file, or None: not there, not trained.
        images: file or folder; None: those inside ``weights``.
        missing: what is not there and where it was looked for; empty: all is there.
    """

    name: str
    network: str
    activation: str
    data: str
    weights: Path | None
    images: Path | None = None
    missing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where things are.

    Attributes:
        data: folder of the data sets that the project does not ship (``REFSNN_SHARED_DATA``).
        fashion: folder of Fashion-MNIST.
        weights: folder of networks trained by the recipes.
    """

    data: Path
    fashion: Path = Path("/usr/share/datasets/fashion-mnist")
    weights: Path = ROOT / "examples"

    @classmethod
    def usual(cls) -> Places:
        """As the tests have it."""
        return cls(data=Path(os.environ.get("REFSNN_SHARED_DATA", ROOT.parent / "shared" / "data")))


def entries(places: Places) -> tuple[Entry, ...]:
    """Every network, those that are not there included."""
    shipped = ROOT / "examples"
    mlperf = places.data / "mlperf-tiny-ic" / "pretrainedResnet.h5"
    found = [
        Entry(
            name="digits",
            network="three convolutions",
            activation="QCFS, L = 4",
            data="digits",
            weights=shipped / "digits.h5",
        ),
        Entry(
            name="fashion-resnet8",
            network="ResNet-8",
            activation="QCFS, L = 4",
            data=FASHION,
            weights=shipped / "fashion_resnet8.h5",
            images=places.fashion,
        ),
        Entry(
            name="mlperf-resnet8",
            network="ResNet-8 (MLPerf Tiny)",
            activation="ReLU",
            data="CIFAR-10",
            weights=mlperf,
            images=places.data / "cifar10-lossless.npz",
        ),
    ]
    found += [_trained(path.stem, places) for path in sorted((ROOT / "tools" / "recipes").glob("*.toml"))]
    return tuple(_checked(entry) for entry in found)


def _trained(recipe: str, places: Places) -> Entry:
    """The network that a recipe trains: ``DATA-NETWORK-ACTIVATION``."""
    data, *rest = recipe.split("-")
    network = next((text for key, text in _NETWORKS.items() if rest[0].startswith(key)), rest[0])
    names = (f"{recipe}.h5", f"{recipe.replace('-', '_')}.h5")
    weights = next((places.weights / name for name in names if (places.weights / name).is_file()), None)
    return Entry(
        name=recipe,
        network=network,
        activation={"qcfs": "QCFS, L = 4", "clip": "ECL's learned clip"}.get(rest[-1], rest[-1]),
        data=FASHION if data == "fashion" else JPEG,
        weights=weights,
        images=places.fashion if data == "fashion" else places.data / "cifar10-jpeg.tar.gz",
    )


def _checked(entry: Entry) -> Entry:
    """Say what is missing."""
    if entry.weights is None:
        return replace(entry, missing="not trained")
    for path in (entry.weights, entry.images):
        if path is not None and not path.exists():
            return replace(entry, missing=f"not measured: {path.name} is not there")
    return entry


def unpacked(images: Path | None, folder: Path) -> Path | None:
    """A tar archive of images as a folder, made once."""
    if images is None or not images.name.endswith((".tar", ".tar.gz", ".tgz")):
        return images
    target = folder / images.name.partition(".")[0]
    if not target.is_dir():
        part = target.with_name(f".{target.name}.part")
        with tarfile.open(images) as archive:
            # Python 3.11.3 and older, such as Debian 12's, extract what the archive holds wherever it says.
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(part)
        part.rename(target)
    return target
