# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # STS sweeps to edges, and DFT beside them
#
# I-V sweeps of many platelets are averaged, differentiated, and searched for edges; then the computed density of states is passed
# through the junction and laid over them. The raw sweeps of the source study are not public, so these are **synthetic**: made
# from a known density of states at the edges that the study states, with noise, drift and tip changes. Every figure says so.

# %%
# %matplotlib inline
import tempfile
from pathlib import Path

from corecrown.postprocess import read_reference, read_sweeps
from corecrown.postprocess.reference import reference_names
from corecrown.postprocess.sts.analysis import analyse_groups
from corecrown.postprocess.sts.synthetic import CORE, CORE_CROWN, generate, true_edges, write_csv

# %% [markdown]
# ## Files
#
# Forty platelets a place. With files of your own, `read_sweeps` takes a folder, a pattern or a list: CSV with units in the header,
# Nanonis `.dat` and `.3ds`.

# %%
folder = Path(tempfile.mkdtemp())
write_csv(generate(CORE, 40, seed=1, name="core"), folder / "core")
write_csv(generate(CORE_CROWN, 40, seed=2, name="crown"), folder / "crown")
groups = {"core-centre": read_sweeps(folder / "core"), "core-crown-centre": read_sweeps(folder / "crown")}
print({name: len(batch.sweeps) for name, batch in groups.items()})

# %% [markdown]
# ## Edges with intervals
#
# The first group is the reference. Intervals come from resampling platelets; a shift is compared with its standard error, not with
# the thermal line width.

# %%
analysis = analyse_groups(groups)
truth = {"core-centre": true_edges(CORE), "core-crown-centre": true_edges(CORE_CROWN)}
for name, group in analysis.result.groups.items():
    for edge in ("vbm_v", "cbm_v", "gap_ev"):
        found = getattr(group, edge)
        print(f"{name} {edge}: {found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f}), made with {getattr(truth[name], edge):+.3f}")
    for flag in group.flags:
        print("   ", flag)

# %% [markdown]
# ## DFT through the junction
#
# The density of states is broadened by temperature and derivative, weighted by the transmission of the barrier, and moved: a rigid
# shift and a scissor, with uncertainties. The scissor is what separates a bulk Kohn-Sham gap from a tunnelling gap of a confined
# platelet; the ledger of `corecrown compare` takes it apart.

# %%
from corecrown.postprocess.sts.beside import cell_dos
from corecrown.postprocess.sts.overlay import Junction, fit_overlay

study = read_reference(reference_names()[0])
core = analysis.spectra["core-centre"]
edges = analysis.result.groups["core-centre"]
junction = Junction(temperature_k=292, distance_nm=0.6, bandwidth_v=0.05)
dos = cell_dos(study, "fa000")
fit = fit_overlay(core.bias_v, core.mean_didv, dos, junction, (edges.vbm_v.value, edges.cbm_v.value))
print(f"shift {fit.shift_ev:+.3f} eV, scissor {fit.scissor_ev:+.3f} ± {fit.scissor_error_ev or 0:.3f} eV, R² {fit.r_squared:.2f}")

for row in study.compare("sts-core-crown").ledger:
    value = "–" if row.value_ev is None else f"{row.value_ev:+.2f}"
    print(f"{value:>6}  {row.term}")

# %% [markdown]
# ## The figure

# %%
from corecrown.postprocess.plots.style import PAGE_MM, new_figure, paper_style
from corecrown.postprocess.sts.figures import overlay_figure, spectra_figure

with paper_style():
    figure = new_figure(PAGE_MM, 75)
    left, right = figure.subplots(1, 2)
    spectra_figure(analysis, left)
    overlay_figure(core, dos, junction, fit, right)
figure
