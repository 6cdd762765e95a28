# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Your own cation, and your own cluster
#
# Any structure can go through the same study. Here methylammonium, which the package does not know, takes an A site; a study file
# names that cell beside the ones that are built in; a plan says what it costs; and the same file goes to a queue.

# %%
# %matplotlib inline
import tempfile
from pathlib import Path

import numpy as np

from corecrown.postprocess.distortion import measure_distortion
from corecrown.structures import build, write_structure

# %% [markdown]
# ## A cation
#
# CH3NH3+ with C-N 1.49, C-H 1.09 and N-H 1.03 Å and tetrahedral angles, along b, in the place of the first Cs.

# %%
cell = build(0)
for name in ("molecule", "group"):
    cell.remove_site_property(name)
site = next(i for i, atom in enumerate(cell) if atom.specie.symbol == "Cs")
centre = cell[site].coords


def methylammonium(axis, across):
    """Return symbols and positions about the middle of the C-N bond, in Å."""
    third = np.cross(axis, across)
    atoms = [("C", -0.745 * axis), ("N", 0.745 * axis)]
    for base, bond, outward, start in ((-0.745, 1.09, -1, 0.0), (0.745, 1.03, 1, np.pi / 3)):
        for turn in start + np.arange(3) * 2 * np.pi / 3:
            sideways = np.cos(turn) * across + np.sin(turn) * third
            along = base + outward * bond / 3
            atoms.append(("H", along * axis + bond * np.sqrt(8) / 3 * sideways))
    return atoms


cell.remove_sites([site])
for symbol, place in methylammonium(np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0])):
    cell.append(symbol, centre + place, coords_are_cartesian=True)
nearest = min(
    cell.get_distance(i, j)
    for i, a in enumerate(cell)
    for j, b in enumerate(cell)
    if a.specie.symbol == "H" and b.specie.symbol == "Br"
)
print(cell.composition.formula, f"shortest H-Br {nearest:.2f} Å: relaxation will tell")
print(f"mean Pb-Br-Pb {np.mean(measure_distortion(cell).pb_br_pb_deg):.1f}°")

# %% [markdown]
# ## A study file
#
# Built cells and files stand side by side. Unknown keys are errors that name the field.

# %%
folder = Path(tempfile.mkdtemp())
write_structure(cell, folder / "ma.cif")
(folder / "mine.yaml").write_text(
    """\
name: methylammonium
protocol: fast
steps: [relax, scf, bands, pdos]
cells:
  - {fa: 0}
  - {fa: 25, alignment: b}
  - {file: ma.cif, label: ma025-b}
experiment: sts-core-crown
"""
)

from corecrown.workflows import load_study

spec = load_study(folder / "mine.yaml")
print([cell.label or cell.fa for cell in spec.cells], spec.protocol)

# %% [markdown]
# ## What it costs
#
# Every calculation, with k-points, bands, memory and core-hours, before hours are spent. It needs the pseudopotentials
# (`corecrown setup`), since they say how many electrons there are.

# %%
from corecrown.errors import CorecrownError
from corecrown.workflows.plan import plan_study

try:
    plan = plan_study(spec)
except CorecrownError as error:
    print("no plan here:", error)
else:
    for label, steps in plan.cells.items():
        for step, planned in steps.items():
            print(f"{label:10} {step:6} {planned.n_kpoints:4} k-points {planned.n_bands:4} bands {planned.core_hours:8.1f} core-hours")
    print(f"{plan.total_core_hours:.0f} core-hours; {plan.cost_note}")

# %% [markdown]
# ## On a cluster
#
# The settings name the site's programs and launcher once, in `~/.config/corecrown/settings.yaml`:
#
# ```yaml
# espresso_bin: /path/of/the/module/bin
# mpi_command: srun -n {ranks}
# ```
#
# and the same study goes to the queue, one job a cell, each going on where it was stopped:
#
# ```console
# $ corecrown study submit mine.yaml -d runs/mine --scheduler slurm --dry-run    # shows the scripts
# $ corecrown study submit mine.yaml -d runs/mine --scheduler slurm
# $ corecrown study status runs/mine
# $ corecrown study collect runs/mine
# ```
#
# ## The figure
#
# Your cell down its three axes, octahedra shaded.

# %%
from corecrown.structures import draw_cell

figure = draw_cell(cell, title="25 % methylammonium along b, as built")
figure
