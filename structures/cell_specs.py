"""What an entry of ``cells:`` in a study file may say, and the label it gets."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from corecrown.errors import known_names

__all__ = ["LABEL", "CellSpec", "EnsembleSpec"]

LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What a label may look like: it names a folder."""

_BUILT_ONLY = ("alignment", "sites", "lattice", "ensemble", "supercell", "heads", "roll_deg", "strain")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = [item.alias or name for name, item in cls.model_fields.items()]
            allowed = {*known, *cls.model_fields}
            unknown = [str(key) for key in data if key not in allowed]
            if unknown:
                raise ValueError(f"unknown key {unknown[0]!r}; {known_names(unknown[0], known, 'allowed')}")
        return data


class EnsembleSpec(_Strict):
    """How many configurations, and from which seed."""

    size: int = Field(ge=1, le=10_000)
    seed: int = Field(0, ge=0)


class CellSpec(_Strict):
    """One entry of ``cells:`` in a study file.

    It is one of: a cell to build (``fa``), one made from another cell of the study (``from`` with ``replace`` or
    ``strain_to``), or a structure of the user's (``file``).
    """

    fa: float | None = Field(None, ge=0, le=100, description="percentage of A sites that carry FA")
    alignment: Literal["a", "b", "c"] | tuple[float, float, float] | None = Field(
        None, description="direction of the N-N axes: a, b, c, or three Cartesian components"
    )
    sites: tuple[int, ...] | None = Field(None, description="A sites to substitute; without: every distinct choice")
    lattice: Literal["cspbbr3", "fapbbr3"] = "cspbbr3"
    supercell: tuple[int, int, int] = (1, 1, 1)
    label: str | None = None
    steps: tuple[str, ...] | None = Field(
        None, description="which of the study's steps this cell goes through, and what they need; all by default"
    )
    ensemble: EnsembleSpec | None = None
    heads: Literal["symmetric", "parallel", "random"] = "symmetric"
    roll_deg: float | None = None
    strain: float | Literal["auto"] | None = None
    from_: str | None = Field(None, alias="from", description="label of another cell of the study")
    replace: dict[str, str] | None = None
    strain_to: str | None = Field(None, description="label of the cell whose lattice is taken")
    file: Path | None = Field(None, description="a structure file, relative to the study file")

    @field_validator("label", "from_", "strain_to")
    @classmethod
    def _is_label(cls, value: str | None) -> str | None:
        if value is not None and not LABEL.fullmatch(value):
            raise ValueError(f"{value!r} is not a label: letters, digits, '.', '_' and '-', it names a folder")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "CellSpec":
        kinds = [
            name for name, value in (("fa", self.fa), ("from", self.from_), ("file", self.file)) if value is not None
        ]
        if len(kinds) != 1:
            raise ValueError(
                f"a cell says exactly one of fa, from and file; this one says {' and '.join(kinds) or 'none'}"
            )
        if kinds[0] != "fa":
            extra = sorted(set(_BUILT_ONLY) & self.model_fields_set)
            if extra:
                raise ValueError(f"{extra[0]} goes with fa, not with {kinds[0]}")
        if kinds[0] == "from" and (self.replace is None) == (self.strain_to is None):
            raise ValueError("from needs exactly one of replace and strain_to")
        if kinds[0] != "from" and (self.replace is not None or self.strain_to is not None):
            raise ValueError("replace and strain_to need from")
        if self.replace is not None and self.replace != {"FA": "Cs"}:
            raise ValueError("replace: only {FA: Cs} is known")
        if self.from_ is not None and self.from_ == self.strain_to:
            raise ValueError("strain_to names the cell itself")
        if self.fa is not None:
            self._check_built()
        return self

    def _check_built(self) -> None:
        if self.fa == 0:
            extra = sorted({"alignment", "sites", "ensemble", "heads", "roll_deg"} & self.model_fields_set)
            if extra:
                raise ValueError(f"{extra[0]}: a cell of 0 % has no FA")
        if any(not 1 <= n <= 20 for n in self.supercell):
            raise ValueError("supercell: three whole numbers from 1 to 20")
        if self.sites is not None and len(set(self.sites)) != len(self.sites):
            raise ValueError("sites: a site is named twice")
        if self.ensemble is not None and ({"heads", "roll_deg", "strain"} & self.model_fields_set):
            raise ValueError("an ensemble draws heads and rolls itself and keeps the lattice")
        if isinstance(self.alignment, tuple) and self.label is None:
            raise ValueError("alignment: a cell with a direction of its own needs a label")

    def as_written(self) -> dict[str, Any]:
        """Return the keys that were given, as they stand in a study file; they make the same entry again."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    @property
    def is_derived(self) -> bool:
        """Whether it is made from other cells of the study, once those are relaxed."""
        return self.from_ is not None

    @property
    def depends_on(self) -> tuple[str, ...]:
        """Labels of the cells it is made from."""
        return tuple(label for label in (self.from_, self.strain_to) if label is not None)

    def base_label(self) -> str:
        """Return the label of the entry, before what tells the cells of one entry apart."""
        if self.label is not None:
            return self.label
        if self.file is not None:
            return re.sub(r"[^A-Za-z0-9._-]+", "-", self.file.stem).strip("-.") or "file"
        if self.from_ is not None:
            return f"{self.from_}-{'framework' if self.replace is not None else 'strained'}"
        fa = self.fa or 0.0
        parts = [f"fa{round(fa):03d}" if abs(fa - round(fa)) < 0.005 else f"fa{fa:06.2f}".rstrip("0")]
        if isinstance(self.alignment, str):
            parts.append(self.alignment)
        elif fa and self.ensemble is None:
            parts.append("b")
        if self.lattice != "cspbbr3":
            parts.append(self.lattice)
        if self.supercell != (1, 1, 1):
            parts.append("x".join(str(n) for n in self.supercell))
        if self.heads != "symmetric":
            parts.append(self.heads)
        return "-".join(parts)
