# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Where excited charge goes
#
# The source study says that on excitation charge sits preferentially on FA, so that the Pb-Br lattice is spared. Delta-SCF answers
# it: two total energies with different occupations, and the difference of their densities. This notebook reads such results where
# they ship. Where they do not, it says so, and shows what projections of the ground state can tell.

# %%
# %matplotlib inline
from corecrown.postprocess import read_reference
from corecrown.postprocess.reference import reference_names

studies = {name: read_reference(name) for name in reference_names()}
excited = [
    (name, cell, found)
    for name, study in studies.items()
    for cell in study.cells
    for found in cell.excitation
    if found.kind == "neutral"
]
print(f"{len(excited)} neutral excitations in the results {', '.join(studies)}")
if not excited:
    print("none: a study with steps: [scf, excitation] and cells fa000, fa025-b gives them")

# %% [markdown]
# ## Energies, and whether the state held
#
# An excited determinant can fall back to the ground state while it converges; `occupations_kept` says whether it did. Numbers
# of a state that did not hold mean nothing.

# %%
for name, cell, found in excited:
    energy = "–" if found.energy_ev is None else f"{found.energy_ev:.3f} eV"
    gap = "–" if found.ks_gap_ev is None else f"{found.ks_gap_ev:.3f} eV"
    print(f"{name}/{cell.label}: {energy} (Kohn-Sham gap {gap}), kept: {found.occupations_kept}, moved {found.moved_e} e")
    if found.statement:
        print("   ", found.statement)

# %% [markdown]
# ## Shares by group of atoms
#
# Frozen orbitals (each sums to 1) and the relaxed difference of densities. Shares depend on how space is divided among atoms;
# a share is to be held against that of a uniform charge, since FA takes room.
#
# Without Delta-SCF, projections of the edge states onto atomic orbitals say where electron and hole sit before anything relaxes.

# %%
GROUPS = ("Pb-Br", "FA", "Cs")
GROUP_OF = {"Pb": "Pb-Br", "Br": "Pb-Br", "Cs": "Cs", "C": "FA", "N": "FA", "H": "FA"}


def by_group(shares):
    """Sum shares like {"Br-p": 0.7} over groups of atoms, as parts of what the projections hold."""
    sums = dict.fromkeys(GROUPS, 0.0)
    for orbital, share in shares.items():
        sums[GROUP_OF[orbital.split("-")[0]]] += share
    return {group: share / sum(sums.values()) for group, share in sums.items()}


bars = {}
for name, cell, found in excited:
    for title, shares in (
        ("electron, frozen", found.electron_by_group),
        ("hole, frozen", found.hole_by_group),
        ("gained", found.gained_by_group),
        ("lost", found.lost_by_group),
    ):
        if shares and sum(shares.values()) > 0:
            bars[f"{cell.label}\n{title}"] = {group: shares.get(group, 0) / sum(shares.values()) for group in GROUPS}
if not bars:
    study = studies[reference_names()[0]]
    for cell in study.cells:
        if cell.pdos is not None:
            character = cell.pdos.edge_character
            bars[f"{cell.label}\nhole"] = by_group(character.vbm or {})
            bars[f"{cell.label}\nelectron"] = by_group(character.cbm or {})
for title, shares in bars.items():
    print(title.replace("\n", ", "), {group: f"{share:.3f}" for group, share in shares.items()})

# %% [markdown]
# ## The figure

# %%
from corecrown.postprocess.plots.style import PAGE_MM, new_figure, paper_style

with paper_style():
    figure = new_figure(PAGE_MM, 70)
    axes = figure.subplots()
    base = [0.0] * len(bars)
    for group, colour in zip(GROUPS, ("#7a7a7a", "#1f4e79", "#8fb573"), strict=True):
        heights = [shares[group] for shares in bars.values()]
        axes.bar(range(len(bars)), heights, bottom=base, color=colour, label=group, width=0.7)
        base = [low + height for low, height in zip(base, heights, strict=True)]
    axes.set_xticks(range(len(bars)), list(bars), fontsize=7)
    axes.set_ylim(0, 1)
    axes.set_ylabel("Share of the charge")
    axes.set_title("Delta-SCF" if excited else "Ground-state edge states: no Delta-SCF in these results", fontsize=8, loc="left")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
figure
