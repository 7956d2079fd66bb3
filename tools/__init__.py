"""Training and exporting: whatever is heavy, each behind an extra. ``refsnn`` never imports anything from here."""
