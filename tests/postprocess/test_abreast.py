"""Work on all cores: in order, whatever it is made of, and errors come back."""

import os
from functools import partial

import pytest

from corecrown.postprocess import abreast as module
from corecrown.postprocess.abreast import abreast


def test_results_keep_their_order():
    assert abreast([partial(pow, number, 2) for number in range(9)]) == [number**2 for number in range(9)]
    assert abreast([lambda: "made within a function", lambda: "too"]) == ["made within a function", "too"]
    assert abreast([]) == []


def test_one_core_needs_no_copies(monkeypatch):
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert abreast([os.getpid, os.getpid]) == [os.getpid()] * 2


def test_what_is_raised_comes_back():
    with pytest.raises(ZeroDivisionError):
        abreast([lambda: 1, lambda: 1 / 0])
