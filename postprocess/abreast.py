"""Independent pieces of work on all cores, where a running process can be copied; one after the other elsewhere."""

import multiprocessing
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar, cast

__all__ = ["abreast"]

T = TypeVar("T")

_waiting: Sequence[Callable[[], object]] = ()
"""What copies of this process inherit, since functions made within functions cannot be sent to them."""


def abreast(pieces: Sequence[Callable[[], T]]) -> list[T]:
    """Return what the pieces return, in their order; the first ones are begun first.

    Parameters
    ----------
    pieces
        Functions that depend on nothing the others do. What they return is sent between processes.
    """
    global _waiting  # noqa: PLW0603
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    workers = min(cores, len(pieces))
    if workers < 2 or "fork" not in multiprocessing.get_all_start_methods():
        return [piece() for piece in pieces]
    _waiting = pieces
    try:
        with warnings.catch_warnings():
            # numpy's threads are idle now and are not needed in the copies
            warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
            with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
                return [cast("T", result) for result in pool.map(_do, range(len(pieces)))]
    finally:
        _waiting = ()


def _do(number: int) -> object:
    return _waiting[number]()
