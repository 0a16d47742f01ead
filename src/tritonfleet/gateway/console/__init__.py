"""The fleet in a browser: the page at ``/``, its files, and the data and actions behind it.

The page is plain HTML, CSS and JavaScript modules in ``static``; nothing is built, nothing is fetched from elsewhere.
"""

from __future__ import annotations

from tritonfleet.gateway.console.pages import Console

__all__ = ["Console"]
