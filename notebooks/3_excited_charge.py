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
# The energies lie within some hundredths of an eV of the Kohn-Sham gap at Γ: below it at 0 and 25 % FA, above it at 100 %. That is
# an observation. Nothing computed here explains the change of sign, and it is worth little: in a periodic cell with a semilocal
# functional the energy stays near the Kohn-Sham gap, and it says little on its own.

# %%
for label, found in excited.items():
    print(f"{label}: {found.energy_ev - found.ks_gap_ev:+.3f} eV from the Kohn-Sham gap")

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
for label, found in excited.items():
    with_fa = [part for part in found.partitions if part.electron and "FA" in part.electron]
    volumes = [part.volume["FA"] for part in with_fa if part.volume]
    if not volumes:
        continue
    shares = {"electron": [part.electron["FA"] for part in with_fa], "hole": [part.hole["FA"] for part in with_fa]}
    told = ", ".join(f"{name} {min(values):.3f} to {max(values):.3f}" for name, values in shares.items())
    print(f"{label}: FA has of the frozen {told}; of the volume {min(volumes):.2f} to {max(volumes):.2f}")

# %% [markdown]
# In every cell with FA and by every scheme it has less than a tenth of the share that it has of the volume: at this level the electron and
# the hole are on lead and bromine, and the claim that FA takes the excited charge is not supported. A semilocal functional spreads
# charge too far, so a hybrid might find more on FA; nothing here shows that it would.

# %%
from corecrown.postprocess.plots.excitation import plot_shares

figure = plot_shares(excited)
figure
