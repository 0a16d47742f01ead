"""The base of every part of the spec, and the kinds of values that several parts use."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0, strict=False, allow_inf_nan=False, json_schema_extra={"unit": "seconds"})]


class Section(BaseModel):
    """Base of every part of the spec: unknown keys are refused, values cannot change after reading."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, strict=True)
