"""All dashboards as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from tritonfleet.errors import RuntimeMissing
from tritonfleet.observe.board import Board
from tritonfleet.observe.fleet_board import fleet_board
from tritonfleet.observe.model_board import model_board


def boards(price_per_hour: float = 1.0) -> tuple[Board, ...]:
    """Return all dashboards; *price_per_hour* ($) of one machine is where the choice starts."""
    return fleet_board(price_per_hour), model_board()


def dashboard_files(price_per_hour: float = 1.0) -> Mapping[PurePosixPath, str]:
    """Return Grafana's JSON of all dashboards; raise RuntimeMissing without the extra `observe`."""
    try:
        from tritonfleet.observe.grafana import dashboard_json
    except ImportError as err:
        raise RuntimeMissing(
            f"dashboards are written with grafana-foundation-sdk, and {err.name} is not installed here; "
            "run: pip install 'tritonfleet[observe]'"
        ) from err
    return {PurePosixPath(f"{board.uid}.json"): dashboard_json(board) for board in boards(price_per_hour)}
