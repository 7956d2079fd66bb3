"""Training and exporting: whatever is heavy, each behind an extra. ``refsnn`` never imports anything from here."""

from refsnn.errors import require

require("torch", "train")  # everything here needs it
