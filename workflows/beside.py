"""Makers of steps that look at more than the one they start from."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from corecrown.postprocess.results import Step
from corecrown.workflows.record import StepOutput
from corecrown.workflows.steps import STEP_USES

__all__ = ["with_beside"]


def with_beside(maker: Any, done: Mapping[Step, StepOutput]) -> Any:
    """Return a step's Maker with the outputs of other steps that it looks at, as far as they are done."""
    uses = STEP_USES.get(maker.step)
    if uses is None:
        return maker
    return replace(maker, beside={step.value: done[step] for step in uses if step in done})
