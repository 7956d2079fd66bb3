"""What was measured, and how it is kept: one JSON file that grows case by case."""

from __future__ import annotations

import dataclasses
import json
import platform
import statistics
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from llvmlite import binding

from benchmarks.roofline import Roofline
from refsnn import __version__, files
from refsnn.errors import InputError

SCHEMA = "refsnn-benchmark"
VERSION = 1

LIBRARIES = ("numpy", "numba", "torch", "spikingjelly", "snntorch", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Rates:
    """An engine's measurements.

    Attributes:
        name, note, exact: of the engine.
        images: in a measured run.
        per_second: images a second, a number a round.
    """

    name: str
    note: str
    exact: bool
    images: int
    per_second: list[float]

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.per_second)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A case: a network, spiking so often, for so many steps, in batches of a size.

    Attributes:
        spiking: wanted per cent of neurons that spike in a step.
        cores: that the measured runs had, on average: less than ``threads`` where other programs ran, or where not
            everything runs in threads.
        reached: the fraction of each population.
        multiply_adds: of an image, every synapse counted in every step, those from the input once.
        plain_multiply_adds: of the plain network.
        traffic, plain_traffic: bytes of an image where weights are read once a batch, and events written once and read
            once by each projection; of the spiking and of the plain network in int8.
        engines: in the order of the table.
    """

    network: str
    spiking: float
    steps: int
    batch: int
    threads: int
    cores: float
    reached: dict[str, float]
    multiply_adds: int
    plain_multiply_adds: int
    traffic: float
    plain_traffic: float
    engines: list[Rates]

    @property
    def key(self) -> tuple[str, float, int, int, int]:
        """What tells it from other cases."""
        return self.network, self.spiking, self.steps, self.batch, self.threads

    def median(self, name: str) -> float | None:
        """Images a second of an engine, if it ran."""
        return next((each.median for each in self.engines if each.name == name), None)


@dataclass(slots=True)
class Results:
    """Everything that was measured on one machine.

    Attributes:
        machine: processor, and versions.
        missing: by peer, why it was left out.
        rooflines: one for each number of threads.
    """

    machine: dict[str, str]
    missing: dict[str, str] = field(default_factory=dict)
    rooflines: list[Roofline] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def find(self, key: tuple[Any, ...]) -> Row | None:
        """The row of a case, if it was measured."""
        return next((row for row in self.rows if row.key == key), None)

    def add(self, row: Row) -> None:
        """Keep a row, in place of an older one of its case."""
        self.rows = [each for each in self.rows if each.key != row.key] + [row]

    def roofline(self, threads: int) -> Roofline | None:
        """The machine's limits for a number of threads, if they were measured."""
        return next((each for each in self.rooflines if each.threads == threads), None)

    def add_roofline(self, found: Roofline) -> None:
        """Keep limits; a peak that was reached once stays."""
        before = self.roofline(found.threads)
        if before is not None:
            best = dict(before.peaks)
            for name, (instruction, rate) in found.peaks.items():
                best[name] = (instruction, max(rate, best[name][1] if name in best else 0.0))
            found = Roofline(found.threads, best, max(found.bandwidth, before.bandwidth))
        self.rooflines = [each for each in self.rooflines if each.threads != found.threads] + [found]

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        document = {"schema": SCHEMA, "version": VERSION, **dataclasses.asdict(self)}
        files.write_text(path, json.dumps(document, indent=1) + "\n")


def load(path: Path) -> Results:
    """Read what ``save`` wrote.

    Raises:
        InputError: it is not there, or not such a file.
    """
    try:
        document = json.loads(path.read_text())
        if (document.pop("schema"), document.pop("version")) != (SCHEMA, VERSION):
            raise InputError(f"{path}: another schema or version than {SCHEMA} {VERSION}; measure into a new folder")
        document["rooflines"] = [
            Roofline(each["threads"], {k: tuple(v) for k, v in each["peaks"].items()}, each["bandwidth"])
            for each in document["rooflines"]
        ]
        document["rows"] = [
            Row(**{**row, "engines": [Rates(**engine) for engine in row["engines"]]}) for row in document["rows"]
        ]
        return Results(**document)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); measure first, without --render") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is not a benchmark's results ({error!r}); measure into a new folder") from error


def machine() -> dict[str, str]:
    """This processor, and the versions of everything that takes part."""
    found = {"processor": _processor(), "system": platform.system(), "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {**found, "refsnn": __version__}


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()} ({binding.get_host_cpu_name()})"
    except OSError:
        pass
    return f"{platform.machine()} ({binding.get_host_cpu_name()})"
