"""``python -m refsnn.sweep``."""

from __future__ import annotations

from refsnn.sweep.command import main

if __name__ == "__main__":
    main()
