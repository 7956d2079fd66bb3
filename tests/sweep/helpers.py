"""Workers that count, progress that acts, and documents to compare."""

from __future__ import annotations

import json

from refsnn import experiment
from refsnn.results import MEASURED
from refsnn.sweep.local import Here

STEPS = (1, 2, 4)
BITS = (8, 4)


class Counting:
    """Workers that count what they do, and may stop after some blocks."""

    name = "workers that count"

    def __init__(self, workers=None, stop: int | None = None) -> None:
        self.workers = workers or Here()
        self.stop = stop
        self.done: list[str] = []

    def run(self, blocks):
        for found in self.workers.run(blocks):
            yield found
            self.done.append(found[0].name)
            if len(self.done) == self.stop:
                raise KeyboardInterrupt


class Watch(experiment.Silent):
    """Progress that does something once, when the first block is done."""

    def __init__(self, action) -> None:
        self.action = action
        self.working = False

    def stage(self, text: str, images: int) -> None:
        self.working = "blocks on" in text

    def advance(self, images: int) -> None:
        if self.working and self.action is not None:
            action, self.action = self.action, None
            action()


def timeless(document: object) -> object:
    """The document without the measured times."""
    if isinstance(document, dict):
        return {key: timeless(value) for key, value in document.items() if key not in MEASURED}
    return [timeless(value) for value in document] if isinstance(document, list) else document


def documents(found) -> dict:
    """By weight bits: what a sweep found, without the measured times."""
    return {bits: timeless(json.loads(results.json())) for bits, results in found.results.items()}
