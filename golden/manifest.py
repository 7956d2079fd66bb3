"""``manifest.json``: what a case is, where everything lies, and the digest of every file (``docs/golden.md``)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from golden.records import decode, encode
from refsnn.errors import InputError

SCHEMA = "refsnn-golden"
VERSION = 1
CREATOR = "refsnn golden"
FILE = "manifest.json"
NETWORK = "network.h5"
VECTORS = "vectors.h5"
MEM = "mem"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRecord:
    """The network inside the case.

    Attributes:
        file: its name in the folder, schema ``refsnn-network``.
        digest: ``Network.digest``: SHA-256 over everything that determines the integers.
        membrane_bits: width B of every firing population's membrane; it clamps.
        made_for: the one T that the network was made for; None: any.
    """

    file: str
    digest: str
    membrane_bits: int
    made_for: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesRecord:
    """How many images there are, and where they come from, in words."""

    count: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayRecord:
    """One array of a population, the same in ``vectors.h5`` and, as text, in ``mem/``.

    Attributes:
        dtype: NumPy's name of the type in ``vectors.h5``.
        axes: of the array of one image.
        bits: width of a field in ``mem/``.
        steps: for each image the length of axis t; None: there is no such axis.
    """

    dtype: str
    axes: str
    bits: int
    steps: tuple[int, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuronRecord:
    """The settings of a spiking population's neurons (``docs/numerics.md``), one entry a channel where it is a list.

    Attributes:
        kind: ``if``, ``dual`` or ``signed``.
        low, high: of ``fire`` in this run; None: no negative spikes, no cap, or temporal separation, which has neither.
    """

    kind: str
    threshold: tuple[int, ...]
    negative_threshold: tuple[int, ...]
    initial_membrane: tuple[int, ...]
    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WidthsRecord:
    """Signed bits that hold every current and membrane for every image, by the static range analysis."""

    current: int
    membrane: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulationRecord:
    """One population, in topological order.

    Attributes:
        name: in the network.
        stem: what it is called in ``vectors.h5`` and ``mem/``.
        kind: ``input``, ``spiking``, ``max_pool`` or ``readout``.
        shape: ``(C, H, W)``; a ``(C,)`` population is ``(C, 1, 1)``.
        separated, base: its schedule.
        sources: the populations that it reads.
        neuron: of spiking populations.
        widths: of populations that integrate.
        arrays: by quantity.
    """

    name: str
    stem: str
    kind: str
    shape: tuple[int, ...]
    separated: bool
    base: int
    sources: tuple[str, ...]
    neuron: NeuronRecord | None
    widths: WidthsRecord | None
    arrays: dict[str, ArrayRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something happens; None where it is about all of them. ``t`` counts from 0, neurons are ``(c, y, x)``."""

    image: int | None = None
    population: str | None = None
    t: int | None = None
    neuron: tuple[int, ...] | None = None

    def __str__(self) -> str:
        words = [
            "" if self.image is None else f"image {self.image}",
            "" if self.population is None else f"'{self.population}'",
            "" if self.t is None else f"t = {self.t}",
            "" if self.neuron is None else f"neuron {self.neuron}",
        ]
        return ", ".join(word for word in words if word) or "the network"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagRecord:
    """Something worth having in a test that occurs in this case (``golden.flags``).

    Attributes:
        name, meaning: in words.
        count: how often it occurs.
        first: the first time.
    """

    name: str
    meaning: str
    count: int
    first: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class MemRecord:
    """The layout of ``mem/``, in words: the files' names, what a line is, and what a field is."""

    path: str
    line: str
    field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A case.

    Attributes:
        reason: why the case exists, a sentence.
        expects: the flags that it exists for; the checker insists on them.
        steps: T.
        drain: steps after the T without input and bias, in rate schedules; -1: until quiet.
        predictions: for each image the index of the largest membrane of the readout, the lowest of equals.
        quantities: the meaning of each array's name.
        files: SHA-256 of every other file in the folder.
        digest: SHA-256 of this document as it is written with an empty digest.
    """

    schema: str
    version: int
    creator: str
    reason: str
    expects: tuple[str, ...]
    steps: int
    drain: int
    network: NetworkRecord
    images: ImagesRecord
    predictions: tuple[int, ...]
    quantities: dict[str, str]
    mem: MemRecord
    populations: tuple[PopulationRecord, ...]
    flags: tuple[FlagRecord, ...]
    files: dict[str, str]
    digest: str = ""

    def sealed(self) -> Manifest:
        """The same with its digest."""
        text = encode(replace(self, digest=""))
        return replace(self, digest=hashlib.sha256(text.encode()).hexdigest())

    def write(self, path: Path) -> None:
        """Write it as JSON, sealed; equal manifests give equal files."""
        path.write_text(encode(self.sealed()), encoding="utf-8")


def read(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        InputError: missing, not JSON, another schema, a newer version, a key that is missing, unknown or wrong, or
            another digest.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; a golden case is a folder with a {FILE} in it")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({error}); make the case again") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise InputError(f"{path}: has the schema {json.dumps(schema)}; '{SCHEMA}' was expected")
    version = content.get("version")
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise InputError(
            f"{path}: is version {json.dumps(version)} of the schema '{SCHEMA}', this program reads up to {VERSION}; "
            "update refsnn"
        )
    manifest = decode(Manifest, content, str(path))
    sealed = manifest.sealed()
    if manifest.digest != sealed.digest:
        raise InputError(f"{path}: its digest is {manifest.digest}; {sealed.digest} was expected: it has been changed")
    return manifest
