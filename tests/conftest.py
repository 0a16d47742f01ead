"""Settings that every test shares."""

from __future__ import annotations

from hypothesis import settings

# The machine that runs the tests is shared, so one slow example says nothing.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
