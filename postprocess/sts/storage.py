"""An analysis of sweeps kept with a study: results, averaged spectra and overlays in one file, for its report."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from corecrown.errors import InputError
from corecrown.files import write_whole
from corecrown.postprocess.sts.analysis import StsAnalysis
from corecrown.postprocess.sts.beside import Overlay
from corecrown.postprocess.sts.edges import EdgeOptions
from corecrown.postprocess.sts.groups import GroupSpectra
from corecrown.postprocess.sts.results import StsResult

__all__ = ["STS_FILE", "StoredAnalysis", "read_analysis", "write_analysis"]

STS_FILE = "sts.json"
"""In the folder of a study, beside study.json."""

HINT = "run corecrown sts ... --study DIR again"
DIGITS = 8


@dataclass(frozen=True)
class StoredAnalysis:
    """What was kept: the analysis (without its resamples) and the overlays on it."""

    analysis: StsAnalysis
    overlays: list[Overlay] = field(default_factory=list)


def write_analysis(folder: Path, analysis: StsAnalysis, overlays: Sequence[Overlay] = ()) -> Path:
    """Write an analysis into the folder of a study, whole or not at all.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    content = {
        "result": analysis.result.model_dump(mode="json"),
        "spectra": {name: _dump(spectrum) for name, spectrum in analysis.spectra.items()},
        "overlays": [overlay.model_dump(mode="json") for overlay in overlays],
    }
    text = json.dumps(content, allow_nan=False, ensure_ascii=False) + "\n"
    return write_whole(folder / STS_FILE, text, InputError, "check the folder")


def read_analysis(folder: Path) -> StoredAnalysis | None:
    """Read the analysis that was kept with a study; ``None`` where there is none.

    Raises
    ------
    InputError
        If the file is there and damaged.
    """
    path = folder / STS_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return StoredAnalysis(
            StsAnalysis(
                StsResult.model_validate(content["result"]),
                {name: _load(spectrum) for name, spectrum in content["spectra"].items()},
            ),
            [Overlay.model_validate(one) for one in content["overlays"]],
        )
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise InputError(f"{path}, field {where}: {error.errors()[0]['msg']}", HINT) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: not an analysis of sweeps ({type(error).__name__})", HINT) from error


def _dump(spectrum: GroupSpectra) -> dict[str, Any]:
    arrays = {
        name: None if (values := getattr(spectrum, name)) is None else _numbers(values)
        for name in ("bias_v", "mean_current_a", "mean_didv", "low_didv", "high_didv")
    }
    options = spectrum.edge_options
    return {
        **arrays,
        "edge_options": {
            "prominence": options.prominence,
            "noise": options.noise,
            "bandwidth_v": options.bandwidth_v,
        },
        "by_sweep": {name: _numbers(values) for name, values in spectrum.by_sweep.items()},
        "set_point": spectrum.set_point,
        "synthetic": spectrum.synthetic,
    }


def _load(content: dict[str, Any]) -> GroupSpectra:
    bias, current, didv = (_array(content[name]) for name in ("bias_v", "mean_current_a", "mean_didv"))
    low, high = (None if content[name] is None else _array(content[name]) for name in ("low_didv", "high_didv"))
    if len({len(one) for one in (bias, current, didv, low, high) if one is not None}) != 1 or len(bias) < 2:
        raise ValueError("spectra of different lengths")
    set_point = content["set_point"]
    return GroupSpectra(
        bias_v=bias,
        mean_current_a=current,
        mean_didv=didv,
        edge_options=EdgeOptions(**content["edge_options"]),
        low_didv=low,
        high_didv=high,
        by_sweep={name: _array(values) for name, values in content["by_sweep"].items()},
        set_point=None if set_point is None else (float(set_point[0]), float(set_point[1])),
        synthetic=bool(content["synthetic"]),
    )


def _array(values: list[float]) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError("not a row of finite numbers")
    return array


def _numbers(values: NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]
