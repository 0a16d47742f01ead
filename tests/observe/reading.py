"""Read PromQL as Prometheus does, and say which labels a query's result has; what cannot be right is an error."""

from __future__ import annotations

from collections.abc import Iterator

import promql_parser
from promql_parser import (
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    VectorSelector,
)

from tritonfleet.metrics.table import SERIES
from tritonfleet.observe.promql import TARGET_LABELS
from tritonfleet.observe.rule import Record
from tritonfleet.observe.rules import groups

Labels = frozenset[str]
_COMPARISONS = ("==", "!=", ">", "<", ">=", "<=")
_SETS = ("and", "or", "unless")


class Wrong(AssertionError):
    """A query that Prometheus would answer with nothing, or with nonsense."""


RECORDS: dict[str, str] = {
    rule.name: rule.expression for group in groups() for rule in group.rules if isinstance(rule, Record)
}


def readable(expression: str) -> str:
    """Return a panel's expression with the variables replaced that stand outside of strings."""
    return expression.replace("$window", "5m").replace("$price", "1")


def labels_of(expression: str) -> Labels:
    """Return the labels of the result; raise Wrong for an unknown metric or label, or sides that never match."""
    found = _labels(promql_parser.parse(expression))
    if found is None:
        raise Wrong(f"a number, not a vector: {expression}")
    return found


def _labels(expr: Expr) -> Labels | None:
    match expr:
        case NumberLiteral():
            return None
        case ParenExpr():
            return _labels(expr.expr)
        case MatrixSelector():
            return _selector(expr.vector_selector)
        case VectorSelector():
            return _selector(expr)
        case AggregateExpr():
            return _aggregate(expr)
        case Call():
            return _call(expr)
        case BinaryExpr():
            return _binary(expr)
    raise Wrong(f"not read yet: {type(expr).__name__} in {expr}")


def _selector(selector: VectorSelector) -> Labels:
    name = str(selector.name)
    if name in RECORDS:
        known = labels_of(RECORDS[name])
    elif name in SERIES:
        known = frozenset((*SERIES[name].labels, *TARGET_LABELS, *(("le",) if name.endswith("_bucket") else ())))
    else:
        raise Wrong(f"{name} is neither in the table nor recorded")
    if strange := {matcher.name for matcher in selector.matchers.matchers} - known:
        raise Wrong(f"{name} has no label {strange}")
    return known


def _aggregate(expr: AggregateExpr) -> Labels:
    inner = _vector(expr.expr)
    if len({*_union(expr.expr)}) < len(list(_union(expr.expr))):
        raise Wrong(f"`or` drops what has the same labels: {expr}")
    by = frozenset(expr.modifier.labels) if expr.modifier else frozenset()
    if strange := by - inner:
        raise Wrong(f"summed by {set(strange)}, which {expr.expr} does not have")
    return by


def _union(expr: Expr) -> Iterator[Labels]:
    while isinstance(expr, ParenExpr):
        expr = expr.expr
    if isinstance(expr, BinaryExpr) and str(expr.op).strip() == "or":
        yield from _union(expr.lhs)
        yield from _union(expr.rhs)
    else:
        yield _vector(expr)


def _vector(expr: Expr) -> Labels:
    found = _labels(expr)
    if found is None:
        raise Wrong(f"a number where a vector is needed: {expr}")
    return found


def _call(expr: Call) -> Labels | None:
    name = expr.func.name
    if name == "absent":
        return frozenset()
    vectors = [found for found in map(_labels, expr.args) if found is not None]
    if len(vectors) != 1:
        raise Wrong(f"{name} takes one vector here: {expr}")
    if name != "histogram_quantile":
        return vectors[0]
    if "le" not in vectors[0]:
        raise Wrong(f"buckets are lost before the quantile is taken: {expr}")
    return vectors[0] - {"le"}


def _binary(expr: BinaryExpr) -> Labels | None:
    left, right = _labels(expr.lhs), _labels(expr.rhs)
    operator = str(expr.op).strip()
    if left is None or right is None:
        return left if right is None else right
    matching = expr.modifier.matching if expr.modifier else None
    if operator == "or":
        return left & right
    if matching is None:
        compared = left, right
    elif "Include" in str(matching.type):
        named = frozenset(matching.labels)
        if strange := named - (left & right):
            raise Wrong(f"matched on {set(strange)}, which one side does not have: {expr}")
        compared = named, named
    else:
        compared = left - {*matching.labels}, right - {*matching.labels}
    if compared[0] != compared[1]:
        raise Wrong(f"the sides never match: {sorted(compared[0])} and {sorted(compared[1])} in {expr}")
    return left if operator in (*_SETS, *_COMPARISONS) else compared[0]
