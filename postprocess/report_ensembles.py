"""The table of a report that shows ensembles: mean and spread of every result over the cells that were drawn."""

from collections.abc import Sequence

from corecrown.postprocess.report_text import NOTHING, Table, notes_of, number_text
from corecrown.postprocess.results import EnsembleResult

__all__ = ["ensemble_tables", "value_text"]

_SMALL = 0.01


def ensemble_tables(ensembles: Sequence[EnsembleResult]) -> list[Table]:
    """Return a table for every ensemble, a row a result."""
    tables = []
    for ensemble in ensembles:
        rows = [
            (
                name,
                str(spread.n),
                value_text(spread.mean, spread.mean),
                value_text(spread.std, spread.mean),
                value_text(spread.low, spread.mean),
                value_text(spread.high, spread.mean),
            )
            for name, spread in ensemble.values.items()
        ]
        level = f" ({ensemble.level})" if ensemble.level else ""
        tables.append(
            Table(
                f"{ensemble.label}: mean and spread over {len(ensemble.members)} cells{level}. Names are those of the "
                "result fields, units in the name; masses in electron masses; spread is the sample standard deviation.",
                ("Result", "Cells", "Mean", "Spread", "Smallest", "Largest"),
                rows,
                notes_of(ensemble.label, ensemble),
            )
        )
    return tables


def value_text(value: float | None, scale: float) -> str:
    """Return a number with three decimals, or in powers of ten where the scale is small."""
    if value is None:
        return NOTHING
    return number_text(value) if abs(scale) >= _SMALL or scale == 0 else f"{value:.2e}".replace("-", "−")
