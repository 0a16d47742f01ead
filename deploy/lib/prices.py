"""What the deployment costs, from the answers of AWS's Pricing API. Pure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from capacity import instance_types
from documents import Json

HOURS_A_MONTH = 730

# What, how many at least and at most, US dollars an hour for one; None where the price is not known.
Line = tuple[str, float, float, float | None]


def usd(offers: Any, usage: str) -> float | None:
    """US dollars an hour, on demand, of the first product whose usage type ends so; None where none does."""
    for text in offers["PriceList"]:
        offer = json.loads(text) if isinstance(text, str) else text
        if not offer["product"]["attributes"].get("usagetype", "").endswith(usage):
            continue
        for term in offer["terms"].get("OnDemand", {}).values():
            for dimension in term["priceDimensions"].values():
                price = float(dimension["pricePerUnit"].get("USD", 0))
                if price > 0:
                    return price
    return None


def bill_text(lines: list[Line]) -> str:
    """The bill as a table, with the sums an hour and a month."""
    rows, least, most, unknown = [], 0.0, 0.0, 0
    for what, low, high, price in lines:
        count = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        if price is None:
            unknown += 1
            rows.append(f"  {what:<44} {count:>8}  price not known")
            continue
        least, most = least + low * price, most + high * price
        rows.append(f"  {what:<44} {count:>8}  at {price:8.4f} USD/h")
    extra = f", plus {unknown} line(s) without a price" if unknown else ""
    rows.append(f"An hour costs {least:.2f} USD to start and {most:.2f} USD at most{extra}.")
    rows.append(
        f"A month of {HOURS_A_MONTH} hours costs {least * HOURS_A_MONTH:,.0f} to {most * HOURS_A_MONTH:,.0f} USD."
    )
    rows.append("On-demand list prices of AWS; disks, logs, S3 and traffic come on top.")
    return "\n".join(rows)


def bill(inputs: Json, prices: Json) -> list[Line]:
    """Lines of the bill: what, how many at least and at most, US dollars an hour for one."""
    zones = len(inputs["zones"])
    nodes = inputs.get("system_nodes", {"minimum": 2, "desired": 2, "maximum": 4})
    endpoints = len(inputs.get("interface_endpoints", ["ecr.api", "ecr.dkr", "sts", "secretsmanager"])) * zones
    nats = zones if inputs.get("nat_per_zone") else 1
    system = instance_types(inputs)[0]
    lines: list[Line] = [
        ("EKS control plane", 1, 1, prices.get("eks")),
        (f"system node {system}", nodes["minimum"], nodes["maximum"], prices.get(system)),
        ("NAT gateway (traffic is extra)", nats, nats, prices.get("nat")),
        ("Network Load Balancer (traffic is extra)", 1, 1, prices.get("nlb")),
        ("VPC interface endpoint", endpoints, endpoints, prices.get("endpoint")),
    ]
    for name, pool in inputs.get("pools", {}).items():
        kind = pool["instance_types"][0]
        lines.append((f"pool {name}: {kind}", pool["minimum"], pool["maximum"], prices.get(kind)))
    return lines


def read_prices(folder: Path) -> Json:
    """Prices by name, from what the Pricing API answered into NAME__USAGE.json files."""
    found: Json = {}
    for path in folder.glob("*.json"):
        name, usage = path.stem.split("__", 1)
        price = usd(json.loads(path.read_text() or '{"PriceList": []}'), usage)
        if price is not None:
            found[name] = price
    return found
