"""The ``tritonfleet`` command: options in, one function called, errors printed without a traceback."""

from tritonfleet.cli.app import main

__all__ = ["main"]
