"""``python -m tritonfleet`` is the ``tritonfleet`` command."""

from tritonfleet.cli import main

if __name__ == "__main__":
    main()
