# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # From cells to a gap
#
# One of four Cs ions of orthorhombic CsPbBr3 becomes formamidinium (FA). How does the gap move, and how well is that known?
# This notebook builds the two cells, reads results that ship with the package, answers the question, and ends in a figure. It
# needs no DFT program.

# %%
# %matplotlib inline
from corecrown.postprocess import read_reference
from corecrown.postprocess.reference import read_provenance, reference_names
from corecrown.structures import build

# %% [markdown]
# ## The cells
#
# Cells are Pbnm with c long: a and b lie in the plane of a platelet, c is its thickness. `build` puts the ion on an A site with
# its N-N axis along a, b or c, rolls it to where it fits, and checks that no atoms come too close.

# %%
cells = {"0 % FA": build(0), "25 % FA, along b": build(25, "b")}
for name, cell in cells.items():
    lengths = ", ".join(f"{length:.3f}" for length in cell.lattice.abc)
    print(f"{name}: {cell.composition.formula}, {len(cell)} atoms, a, b, c = {lengths} Å")

# %% [markdown]
# ## Results that exist
#
# Finished studies ship with the package, the best protocol first. Whatever is not converged says so in its README and in the
# uncertainty that its protocol states.

# %%
name = reference_names()[0]
study = read_reference(name)
about = read_provenance(study.folder)
LABELS = ["fa000", "fa025-b"]
pair = [study[label] for label in LABELS]
print(f"results {name!r}: protocol {study.protocol}, {', '.join(about['codes'])}; of {len(study.labels)} cells {' and '.join(LABELS)}")
for note in about["notes"]:
    print("-", note)

# %% [markdown]
# A row a cell. A value that cannot be had is null, and the cell's notes say why.

# %%
columns = ["level", "gap_ev", "direct", "lattice_a_angstrom", "lattice_b_angstrom", "lattice_c_angstrom"]
print(study.to_dataframe().loc[LABELS, columns].round(3).to_string())

# %% [markdown]
# These lattice constants are not those of the built cells. `build` takes the lattice of CsPbBr3 from experiment and keeps it,
# whatever sits on the A sites. The results start from cells whose lattice and atoms the potential CHGNet relaxed (they ship in
# `inputs/crystals/relaxed`); pw.x relaxed the atoms in that lattice. CHGNet makes b some tenths of an Å longer than measured, with and
# without FA, so that a shift between two cells computed alike is worth more than either gap.

# %%
for built, cell in zip(cells.values(), pair):
    print(f"{cell.label}: b built {built.lattice.b:.3f} Å, of the results {cell.lattice_b_angstrom:.3f} Å")

# %% [markdown]
# ## Gap and shift
#
# Path and mesh each give a gap; the tighter one counts and both are kept. The shift is worth no more than its uncertainty:
# what the protocol leaves on a gap, and how far bands and mesh differ. If the shift is smaller than that, not even its sign is
# known.

# %%
for cell in pair:
    found = {source: edges.gap_ev for source, edges in cell.edges_by_source.items()}
    print(cell.label, {source: f"{gap:.3f} eV" for source, gap in found.items() if gap is not None})

row = next(row for row in study.comparison.rows if row.cell == "fa025-b")
known = "not known" if row.shift_uncertainty_ev is None else f"{row.shift_uncertainty_ev:.3f} eV"
measured = f"; STS at {row.place}: {row.sts_shift_ev:+.2f} eV" if row.sts_shift_ev is not None else ""
print(f"{row.cell}: shift {row.shift_ev:+.3f} eV, uncertainty {known}{measured}")

# %% [markdown]
# ## What the edges are made of
#
# Projections of the edge states themselves, at their own k-point. The A site has next to nothing in either.

# %%
for cell in pair:
    if cell.pdos is None:
        print(f"{cell.label}: no step pdos")
        continue
    for edge in ("vbm", "cbm"):
        shares = getattr(cell.pdos.edge_character, edge) or {}
        print(cell.label, edge, {key: round(share, 3) for key, share in shares.items() if share > 0.01})

# %% [markdown]
# ## The answer
#
# The shift, its uncertainty, and what follows from the two.

# %%
shift, uncertainty = row.shift_ev, row.shift_uncertainty_ev
if uncertainty is None:
    answer = "its uncertainty is not known, so nothing follows"
elif abs(shift) < uncertainty:
    answer = "it is smaller than its uncertainty: not even its sign is known at this level"
else:
    answer = f"it is larger than its uncertainty: at this level the gap {'widens' if shift > 0 else 'narrows'}"
known = "not known" if uncertainty is None else f"{uncertainty:.3f} eV"
print(f"25 % FA along b moves the gap by {shift:+.3f} eV, uncertainty {known}; {answer}")

# %% [markdown]
# ## The figure
#
# Bands from the valence edge over projected densities of states, one column a cell. Save it as PDF for a paper.

# %%
from corecrown.postprocess.cells import describe_level
from corecrown.postprocess.plots import CellPanel, cell_title, plot_electronic_structure

panels = [
    CellPanel(
        cell_title(cell.label),
        study.bands(cell.label) if "bands" in cell.files else None,
        study.dos(cell.label) if "dos" in cell.files else None,
        cell.edges,
    )
    for cell in pair
]
figure = plot_electronic_structure(panels, note=describe_level(pair[0].settings))
figure
