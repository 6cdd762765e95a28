"""How a run is spread over processes, up to the command line that is built."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corecrown.workflows.espresso import run
from corecrown.workflows.espresso.handlers import limit_ranks
from corecrown.workflows.espresso.run import MANY_BANDS, EspressoJob, ParallelPlan, plan_parallel


def started_with(monkeypatch, folder, plan):
    """Return the words a job would start its program with."""
    said = []

    def popen(arguments, **_):
        said.extend(arguments)
        return SimpleNamespace(pid=1, returncode=0, poll=lambda: 0)

    monkeypatch.setattr(run, "command", lambda program, ranks, arguments: ["mpirun", f"-n{ranks}", program, *arguments])
    monkeypatch.setattr(run.subprocess, "Popen", popen)
    EspressoJob("pw.x", "pw", plan).run(str(folder))
    return said


@pytest.mark.parametrize(
    ("n_kpoints", "ranks", "n_bands", "expected"),
    [
        (1, 2, 2 * MANY_BANDS, []),  # two ranks: no square but 1
        (1, 4, MANY_BANDS - 1, []),  # a small matrix
        (1, 4, MANY_BANDS, ["-nd", "4"]),
        (1, 12, MANY_BANDS, ["-nd", "9"]),
        (8, 4, MANY_BANDS, ["-nk", "4"]),  # a rank a pool: nobody to share with
        (2, 16, MANY_BANDS, ["-nk", "2", "-nd", "4"]),  # eight ranks a pool
    ],
)
def test_the_command_line_shares_the_diagonalisation_where_it_pays(
    monkeypatch, tmp_path, n_kpoints, ranks, n_bands, expected
):
    plan = plan_parallel(n_kpoints, ranks, n_bands)
    words = started_with(monkeypatch, tmp_path, plan)
    assert words == ["mpirun", f"-n{ranks}", "pw.x", *expected, "-i", "pw.in"]


def test_fewer_ranks_on_a_retry_share_less(monkeypatch, tmp_path):
    limit_ranks(tmp_path, 2)
    words = started_with(monkeypatch, tmp_path, ParallelPlan(16, 1, 16))
    assert words == ["mpirun", "-n2", "pw.x", "-i", "pw.in"]


@given(st.integers(1, 300), st.integers(1, 256), st.integers(1, 5000))
def test_every_plan_is_one_that_pw_x_accepts(n_kpoints, ranks, n_bands):
    plan = plan_parallel(n_kpoints, ranks, n_bands)
    in_pool, left = divmod(plan.ranks, plan.pools)
    assert left == 0
    assert plan.pools <= n_kpoints
    assert 1 <= plan.diagonalisers <= in_pool
    assert round(plan.diagonalisers**0.5) ** 2 == plan.diagonalisers
