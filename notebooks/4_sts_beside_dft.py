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
# shift and a scissor. The junction is that of the sweeps (temperature, set point, bandwidth), and the standard errors come from fits
# to averages of resampled platelets. Where the shapes differ, shift and scissor are worth less than these errors say: read the notes.

# %%
from corecrown.postprocess.sts.beside import cell_dos, overlays

study = read_reference(reference_names()[0])
overlay = next(one for one in overlays(analysis, study) if one.group == "core-centre")
core, fit = analysis.spectra["core-centre"], overlay.fit
dos = cell_dos(study, overlay.cell)
measured = analysis.result.groups["core-centre"].gap_ev.value
print(f"shift {fit.shift_ev:+.3f} ± {fit.shift_error_ev:.3f} eV, scissor {fit.scissor_ev:+.3f} ± {fit.scissor_error_ev:.3f} eV")
for note in overlay.notes:
    print("-", note)

# %% [markdown]
# The scissor is what the computed gap is widened by until the two spectra lie over each other. It is not the distance of the gaps:
# the measured gap is that between first peaks, and peaks of the density of states lie beyond its edges.

# %%
moved = dos.gap_ev + fit.scissor_ev
print(f"computed gap {dos.gap_ev:.3f} + scissor {fit.scissor_ev:+.3f} = {moved:.3f} eV between the edges as fitted")
print(f"{moved:.3f} + {measured - moved:.3f} eV of peaks beyond these edges = {measured:.3f} eV between first peaks")

# %% [markdown]
# ## The ledger
#
# `corecrown compare` lists what lies between the bulk gap and the measured one, and starts from the highest level of theory that was
# computed. Here it starts from the level of the overlay, PBE without spin-orbit coupling, and from the same synthetic sweeps, so that
# it takes apart the very distance that the overlay bridges. The terms before the sum add up to it; those without a value are not
# in it.

# %%
from corecrown.postprocess.experiment import load_experiment
from corecrown.postprocess.ledger import build_ledger
from corecrown.postprocess.sts.saving import to_experiment

cell = study[overlay.cell]
level = next(level for level in cell.levels if level.functional == cell.settings.functional and not level.spin_orbit)
same_level = cell.model_copy(update={"levels": [level], "masses_spin_orbit": None})
place = to_experiment(analysis.result, "synthetic").places["core-centre"]
for row in build_ledger(same_level, place, load_experiment("sts-core-crown")):
    value = "–" if row.value_ev is None else f"{row.value_ev:+.3f}"
    print(f"{value:>7}  {row.term}")

# %% [markdown]
# ## The figure

# %%
from corecrown.postprocess.plots.style import PAGE_MM, new_figure, paper_style
from corecrown.postprocess.sts.figures import overlay_figure, spectra_figure

with paper_style():
    figure = new_figure(PAGE_MM, 75)
    left, right = figure.subplots(1, 2)
    spectra_figure(analysis, left)
    gap = analysis.result.groups[overlay.group].gap_ev.value
    overlay_figure(core, dos, overlay.junction, fit, right, measured_gap_ev=gap)
figure
