"""Settings that every test shares."""

from __future__ import annotations

import os

from hypothesis import settings

# The machine that runs the tests is shared, so one slow example says nothing. In CI the same change always sees the
# same examples: what is found by chance is found at a desk, not while something else is being merged.
settings.register_profile("shared", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("shared")
