"""Accuracies that the four papers publish, to stand beside ours.

A figure is *checked* where it was seen in the paper's abstract, its authors' repository or a thread there; the others
are commonly quoted, and the page marks them.
"""

from __future__ import annotations

from dataclasses import dataclass

ECL = "Liu et al., ICML 2025"
QCFS = "Bu et al., ICLR 2022"
OPI = "Bu et al., AAAI 2022"
SPIKECONVERTER = "Liu et al., AAAI 2022"


@dataclass(frozen=True, slots=True)
class Figure:
    """One accuracy of a paper, in percent.

    Attributes:
        network: an entry's ``network``: what ours is.
        ann: accuracy of the paper's own ANN; None: not known.
    """

    paper: str
    method: str
    network: str
    data: str
    steps: int
    ann: float | None
    accuracy: float
    checked: bool = False


FIGURES = (
    Figure(ECL, "ecl", "ResNet-18", "CIFAR-10", 2, None, 94.75, True),
    *(
        Figure(QCFS, "qcfs", "VGG-16", "CIFAR-10", t, 95.52, accuracy, True)
        for t, accuracy in ((2, 91.18), (4, 93.96), (8, 94.95), (16, 95.40))
    ),
    Figure(QCFS, "qcfs", "VGG-16", "CIFAR-10", 32, 95.52, 95.54),
    *(
        Figure(QCFS, "qcfs", "ResNet-20", "CIFAR-10", t, 91.77, accuracy)
        for t, accuracy in ((2, 73.20), (4, 83.75), (8, 89.55), (16, 91.62), (32, 92.24))
    ),
    Figure(OPI, "opi", "VGG-16", "CIFAR-10", 8, 94.57, 90.96),
    Figure(OPI, "opi", "VGG-16", "CIFAR-10", 16, 94.57, 93.38, True),
    Figure(OPI, "opi", "VGG-16", "CIFAR-10", 32, 94.57, 94.20),
    *(
        Figure(OPI, "opi", "ResNet-20", "CIFAR-10", t, 92.74, accuracy)
        for t, accuracy in ((8, 66.24), (16, 87.22), (32, 91.88))
    ),
    Figure(SPIKECONVERTER, "spikeconverter", "VGG-16", "CIFAR-10", 16, None, 93.71),
    Figure(SPIKECONVERTER, "spikeconverter", "ResNet-20", "CIFAR-10", 16, None, 91.47),
)
