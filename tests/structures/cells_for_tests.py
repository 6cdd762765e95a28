"""What the property tests of this room check of every cell, and how cells are drawn."""

import numpy as np
from hypothesis import strategies as st

from corecrown.structures.contacts import shortest_contact
from corecrown.structures.formamidinium import find_formamidinium, ion_coordinates, measure_axes, unwrap
from corecrown.structures.platelets import total_charge

SUPERCELLS = [(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2)]
SHORTEST_H_BR = 2.3  # Å, what is asked of every cell
RIGID = 1e-3  # Å
SAME_AXIS_DEG = 0.1


@st.composite
def site_choices(draw):
    """Draw a supercell and some of its A sites."""
    supercell = draw(st.sampled_from(SUPERCELLS))
    n_sites = 4 * int(np.prod(supercell))
    sites = draw(st.sets(st.integers(0, n_sites - 1), min_size=1, max_size=n_sites))
    return supercell, sorted(sites)


ALIGNMENTS = st.one_of(
    st.sampled_from(["a", "b", "c"]),
    st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1),
)


def ion_shape(atoms):
    """Return all distances within an ion, shape (8, 8), Å."""
    return np.linalg.norm(atoms[:, None] - atoms[None], axis=2)


def check_cell(cell, n_fa, n_cs, n_pb):
    """Check composition, charge, right angles, contacts and rigid ions of a cell."""
    ions = find_formamidinium(cell)
    counts = cell.composition.get_el_amt_dict()
    assert len(ions) == n_fa
    assert counts.get("Cs", 0) == n_cs
    assert counts["Pb"] == n_pb
    assert counts["Br"] == 3 * n_pb
    assert counts.get("C", 0) == n_fa
    assert total_charge(cell) == 0
    assert np.allclose(cell.lattice.angles, 90, atol=1e-8)
    nearest = shortest_contact(cell, "H", "Br")
    assert nearest is None or nearest.distance >= SHORTEST_H_BR
    expected = ion_shape(ion_coordinates())
    for ion in ions:
        atoms = unwrap(cell, ion)
        # the two N, and with them their H, may have changed places
        swapped = [0, 2, 1, 3, 6, 7, 4, 5]
        assert min(np.abs(ion_shape(atoms[order]) - expected).max() for order in (range(8), swapped)) < RIGID


def check_groups(cell):
    """Check that site properties and atoms say the same."""
    groups, molecules = cell.site_properties["group"], cell.site_properties["molecule"]
    ions = find_formamidinium(cell)
    assert sorted(set(molecules) - {-1}) == list(range(len(ions)))
    for ion in ions:
        assert len({molecules[i] for i in ion}) == 1
        assert {groups[i] for i in ion} == {"FA"}
    for site, group, molecule in zip(cell, groups, molecules, strict=True):
        if molecule == -1:
            assert group == {"Cs": "Cs", "Pb": "Pb-Br", "Br": "Pb-Br"}[site.specie.symbol]


def check_alignment(cell, direction):
    """Check that the N-N axis of every ion, measured from its atoms, is the one asked for."""
    wanted = np.array(direction) / np.linalg.norm(direction)
    for ion in find_formamidinium(cell):
        axis = measure_axes(unwrap(cell, ion)).nn
        assert np.rad2deg(np.arccos(min(1, abs(float(axis @ wanted))))) < SAME_AXIS_DEG
