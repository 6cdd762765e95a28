"""What tests of published values share."""

import pytest


@pytest.fixture
def told(record_property):
    """Leave a row for docs/checks.md: what, how, ours, cited, source."""

    def tell(what, how, ours, cited, source):
        record_property("check", [what, how, ours, cited, source])

    return tell
