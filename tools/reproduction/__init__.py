"""The tables of ``docs/results.md``: which networks on which images, what the papers say, and the page."""
