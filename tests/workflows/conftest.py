"""What tests of published values share, and the Slurm of those of clusters."""

import pytest
from small_cluster import Slurm


@pytest.fixture
def told(record_property):
    """Leave a row for docs/checks.md: what, how, ours, cited, source."""

    def tell(what, how, ours, cited, source):
        record_property("check", [what, how, ours, cited, source])

    return tell


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A real Slurm of one node, started for the first test that asks for it."""
    running = Slurm(tmp_path_factory.mktemp("slurm"))
    yield running
    running.stop()
