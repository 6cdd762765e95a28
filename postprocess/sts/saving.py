"""The result of an analysis as an experiment file, so that a study can be compared with it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from corecrown.errors import InputError
from corecrown.postprocess.experiment import Experiment, load_experiment
from corecrown.postprocess.sts.results import GroupResult, Interval, SecondEdges, StsResult

__all__ = ["save_experiment", "to_experiment"]


def to_experiment(result: StsResult, name: str, cells: Mapping[str, str] | None = None) -> Experiment:
    """Return an analysis as an experiment: one place a group.

    Parameters
    ----------
    cells
        Which computed cell stands for which group, the reference first. Without it, groups that are named like
        places of the shipped experiment are paired as there.
    """
    shipped = load_experiment()
    pairs = dict(cells or {})
    if not pairs:
        pairs = {pair.place: pair.cell for pair in shipped.compare if pair.place in result.groups}
    places = {group: _place(found) for group, found in result.groups.items()}
    places |= {
        f"{group}-second": _second_place(found.second_edges, found.n_platelets)
        for group, found in result.groups.items()
        if found.second_edges is not None
    }
    temperatures = {group.temperature_k for group in result.groups.values()}
    content: dict[str, Any] = {
        "name": name,
        "source": {
            "paper": None,
            "synthetic": any(group.synthetic for group in result.groups.values()),
            "notes": ["written by corecrown sts", *result.flags],
        },
        "places": places,
        "compare": [{"cell": cell, "place": place} for place, cell in pairs.items()],
        "conditions": {"temperature_k": temperatures.pop() if len(temperatures) == 1 else None},
        "traps": {
            "window_v": list(result.traps.window_v),
            "normalised_by": result.traps.normalised_by,
            "changes": [
                {
                    "reference": change.reference,
                    "group": change.group,
                    "percent": {
                        "value": change.percent,
                        "low": change.low,
                        "high": change.high,
                        "source": "resampled platelets",
                    },
                }
                for change in result.traps.changes
            ],
        },
    }
    return Experiment.model_validate(content)


def save_experiment(result: StsResult, path: Path, cells: Mapping[str, str] | None = None) -> None:
    """Write an analysis as an experiment file.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    experiment = to_experiment(result, path.stem, cells)
    text = yaml.safe_dump(
        experiment.model_dump(mode="json", exclude_none=True, exclude_defaults=True),
        sort_keys=False,
        allow_unicode=True,
    )
    if not experiment.compare:
        text += "# compare: which cell stands for which place, reference first\n# compare:\n"
        text += "".join(f"#   - {{cell: fa000, place: {name}}}\n" for name in list(result.groups)[:1])
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}", "check the folder") from error


def _second_place(second: SecondEdges, n: int) -> dict[str, Any]:
    """Return the farther of two sets of edges as a place of its own."""
    vbm, cbm = second.vbm_v or Interval(), second.cbm_v or Interval()
    return {
        "vbm_v": vbm.value,
        "cbm_v": cbm.value,
        "vbm_standard_error_v": vbm.standard_error,
        "cbm_standard_error_v": cbm.standard_error,
        "n": n or None,
        "method": "mixture",
        "source": "corecrown sts, the farther of two sets of edges in the averaged spectrum",
        "notes": list(second.notes),
    }


def _place(group: GroupResult) -> dict[str, Any]:
    """Return a group as a place; two sets of edges are noted, not chosen between."""
    onset = group.onset.get("onset-linear")
    spread = group.by_sweep.gap_ev if group.by_sweep else None
    vbm, cbm = group.vbm_v.value, group.cbm_v.value
    gap, onset_gap = group.gap_ev.value, onset.gap_ev.value if onset else None
    return {
        "vbm_v": vbm,
        "cbm_v": cbm,
        "vbm_standard_error_v": group.vbm_v.standard_error,
        "cbm_standard_error_v": group.cbm_v.standard_error,
        "gap_standard_error_ev": group.gap_ev.standard_error,
        "gap_std_ev": spread.std if spread else None,
        "onset_gap_ev": onset_gap if gap is not None and group.method == "first-peak" else None,
        "n": group.n_platelets or None,
        "method": group.method,
        "prominence": group.prominence,
        "source": "corecrown sts, averaged spectrum, standard errors by resampling platelets",
        "notes": list(group.flags),
    }
