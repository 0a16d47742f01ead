"""The variables at the top of the dashboards, and the filters that they put into every query. Pure."""

from __future__ import annotations

from tritonfleet.observe.board import Variable
from tritonfleet.observe.promql import Queries

#: One fleet at a time, so that models of the same name in two fleets are never added up.
FLEET = Variable(
    "fleet",
    "Fleet",
    "One fleet at a time.",
    "query",
    f"label_values({Queries().select('tritonfleet_fleet_info')}, fleet)",
)
_OF_FLEET = Queries({"fleet": '="$fleet"'})
POOL = Variable(
    "pool",
    "Pool",
    "Pools of nodes; a model's own name where the spec names none.",
    "query",
    f"label_values({_OF_FLEET.select('tritonfleet_replica_up')}, pool)",
    every=True,
)
_OF_POOL = Queries({"fleet": '="$fleet"', "pool": '=~"$pool"'})
MODELS = Variable(
    "model",
    "Model",
    "Models of the chosen pools.",
    "query",
    f"label_values({_OF_POOL.select('tritonfleet_replica_up')}, model)",
    every=True,
)
MODEL = Variable("model", "Model", "One model.", "query", MODELS.query)
HOST = Variable(
    "host",
    "GPU host",
    "Machines whose GPUs are shown: the fleet's own, and those where a DCGM exporter runs.",
    "query",
    f"label_values({Queries().select('DCGM_FI_DEV_POWER_USAGE')}, Hostname)",
    every=True,
)
WINDOW = Variable(
    "window",
    "Window",
    "Range that rates and percentiles are taken over: at least four times the scrape interval. A long one is calm, a "
    "short one quick.",
    "interval",
    "1m,5m,15m,1h",
    default="5m",
)

FLEET_WIDE = Queries({"fleet": '="$fleet"', "pool": '=~"$pool"', "model": '=~"$model"'}, "$window")
ONE_MODEL = Queries({"fleet": '="$fleet"', "pool": '=~"$pool"', "model": '="$model"'}, "$window")
#: Cost is the machines' and the tokens' of whole pools, so it takes no notice of the chosen models.
WHOLE_POOLS = Queries({"fleet": '="$fleet"', "pool": '=~"$pool"'}, "$window")
#: The DCGM exporter knows no fleet; where it runs beside the fleet's own page, each GPU is there twice.
GPUS = Queries({"Hostname": '=~"$host"'}, "$window")


def price(dollars_per_hour: float) -> Variable:
    """Return the price of one machine (one scraped page of the fleet) as a choice."""
    return Variable(
        "price",
        "$ per machine and hour",
        "Price of one machine of the chosen pools: what `tritonfleet plan` shows, or your bill.",
        "text",
        f"{dollars_per_hour:g}",
    )
