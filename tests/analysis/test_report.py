"""The report: self-contained, repeatable, and alive in a browser."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from refsnn.analysis import report
from refsnn.ann import project
from refsnn.experiment import Request, diagnose_all, perform
from tests.small import autoencoder, classifier, images

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> str:
    """A report with everything in it: refused runs, notes, a file name that has to be escaped."""
    file = tmp_path_factory.mktemp("network") / "a<b>&c.h5"
    project.write(file, classifier(), writer="<script>alert(1)</script>", test=images(90, seed=1))
    outcome = perform(Request(weights=file, calibration_images=30, steps=(2, 30), threads=1))
    return report.render(outcome.results, diagnose_all(outcome, threads=1))


def test_everything_is_inside(rendered):
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)""", rendered)
    assert "@import" not in rendered
    assert "url(" not in rendered
    assert rendered.count("<img ") == 4
    assert all(re.search(r'alt="[^"]{30,}"', tag) for tag in re.findall(r"<img [^>]*>", rendered, re.S))


def test_names_are_escaped(rendered):
    assert "<script" not in rendered
    assert "a&lt;b&gt;&amp;c.h5" in rendered


def test_says_what_was_run(rendered):
    text = html.unescape(re.sub(r"<[^>]+>", " ", rendered))
    for words in ("calibrated on the first 30 images", "spikeconverter at T = 30 did not run", "needs 3", "ISSCC 2014"):
        assert words in text
    assert "images/s" not in text  # measured times differ from run to run


def test_a_network_without_classes(tmp_path):
    data = images(60, seed=1)
    flat = type(data)(images=data.images.reshape(60, -1), name="flat")
    project.write(tmp_path / "net.h5", autoencoder(), writer="the tests", test=flat)
    outcome = perform(Request(weights=tmp_path / "net.h5", calibration_images=20, steps=(4,), threads=1))
    page = report.render(outcome.results, diagnose_all(outcome, threads=1))
    assert "relative error of the outputs" in page
    assert "accuracy of the ANN" not in page


def test_in_a_browser(rendered, tmp_path):
    """Every picture has a size, and the console stays silent."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser: install one of {', '.join(BROWSERS)}")
    probe = (
        "<script>addEventListener('load', () => { const pictures = [...document.images];"
        "document.body.dataset.sizes = pictures.map(p => p.complete ? p.naturalWidth : 0).join(' ');"
        "document.body.dataset.overflow = document.documentElement.scrollWidth - innerWidth; })</script>"
    )
    page = tmp_path / "report.html"
    page.write_text(rendered.replace("</head>", f"{probe}</head>"), encoding="utf-8")
    done = _browse(browser, tmp_path, "--dump-dom", page)
    sizes = [int(size) for size in re.search(r'data-sizes="([\d ]+)"', done.stdout).group(1).split()]
    assert len(sizes) == 4
    assert min(sizes) > 300
    assert int(re.search(r'data-overflow="(-?\d+)"', done.stdout).group(1)) <= 0
    assert "CONSOLE" not in done.stderr, done.stderr
    # and the check itself sees errors
    page.write_text(rendered.replace("</head>", "<script>throw new Error('seen')</script></head>"), encoding="utf-8")
    assert "CONSOLE" in _browse(browser, tmp_path, "--dump-dom", page).stderr


def _browse(browser: str, folder: Path, action: str, page: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
            *("--disable-dev-shm-usage", "--no-first-run", f"--user-data-dir={folder / 'profile'}"),
            *("--enable-logging=stderr", "--window-size=1200,900", action, page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
