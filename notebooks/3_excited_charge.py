# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Where excited charge goes
#
# The source study says that on excitation charge sits preferentially on FA, so that the Pb-Br lattice is spared. Delta-SCF answers
# it: two total energies with different occupations, and the difference of their densities. This notebook reads the results that
# ship: at Γ, with a semilocal functional. `docs/excitation.md` says what that allows.

# %%
# %matplotlib inline
from corecrown.postprocess import read_reference

study = read_reference("excitation")
excited = {cell.label: found for cell in study.cells for found in cell.excitation if found.kind == "neutral"}
print(f"neutral excitations of {', '.join(excited)}")

# %% [markdown]
# ## Energies, and whether the state held
#
# An excited determinant can fall back to the ground state while it converges; `occupations_kept` says whether it did. Numbers
# of a state that did not hold mean nothing.

# %%
for label, found in excited.items():
    print(f"{label}: {found.energy_ev:.3f} eV (Kohn-Sham gap {found.ks_gap_ev:.3f} eV), kept: {found.occupations_kept}")
    if found.statement:
        print("   ", found.statement)

# %% [markdown]
# ## Where the density changed
#
# The difference of the densities of the 25 % cell, cut through its strongest gain, and its sums along the axes.

# %%
from corecrown.postprocess.excitation_cubes import read_density
from corecrown.postprocess.plots.excitation import plot_density_change

difference = read_density(study.file("fa025-b", "difference_neutral"))
plot_density_change(difference, study.structure("fa025-b"), "25 % FA, along b")

# %% [markdown]
# ## Shares by group of atoms
#
# Frozen orbitals (each sums to 1) and the relaxed difference of densities. Shares depend on how space is divided among atoms:
# bars are the mean of four schemes, lines their range. A share is to be held against that of a uniform charge (open marks), since
# FA takes room.

# %%
from corecrown.postprocess.plots.excitation import plot_shares

figure = plot_shares(excited)
figure
