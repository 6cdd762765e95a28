"""How far a running calculation is, whatever the engine."""

from dataclasses import dataclass

__all__ = ["Progress"]


@dataclass(frozen=True)
class Progress:
    """How far a running program is.

    Parameters
    ----------
    ionic_step
        1-based number of the geometry in work (1 for a run at fixed atoms).
    scf_iteration
        1-based number of the scf iteration in work, 0 before the first.
    accuracy_ry
        Estimated scf accuracy of the last iteration, Ry.
    exchange_round
        How often the exact exchange of a hybrid was computed anew; 0 before the first, and without exact exchange.
    kpoint
        Number of the k-point in work in a run without self-consistency, or None.
    part
        Which of several calculations of the step it is, such as an excited state; None for the first or only one.
    """

    ionic_step: int = 1
    scf_iteration: int = 0
    accuracy_ry: float | None = None
    exchange_round: int = 0
    kpoint: int | None = None
    part: str | None = None
