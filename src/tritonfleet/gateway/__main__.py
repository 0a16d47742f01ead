"""Run the gateway until SIGTERM or SIGINT; ``--help`` lists the options."""

from __future__ import annotations

import sys

from tritonfleet.errors import FleetError
from tritonfleet.gateway.command import parse_worker


def main() -> int:
    """Serve; return the exit status."""
    options, place = parse_worker()
    from tritonfleet.gateway.server import check_free, configure_logging, serve

    configure_logging("gateway" if place is None else f"gateway/{place.worker}")
    try:
        if place is not None:
            serve(options, place.board, place.worker)
            return 0
        check_free(options.host, options.port)
        if options.workers == 1:
            serve(options)
        else:
            from tritonfleet.gateway.workers import run_workers

            run_workers(options)
    except FleetError as err:
        print(f"gateway: {err}", file=sys.stderr)  # noqa: T201 - its log
        return err.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
