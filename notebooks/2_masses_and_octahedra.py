# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Masses and octahedra
#
# FA is larger than Cs and pushes on the Pb-Br octahedra. This notebook measures how far they are from regular, and what bands and
# masses make of it. Where a study has no step `masses`, the bands along Γ-X, Γ-Y and Γ-Z give what their spacing allows, and
# the notebook says what is missing.

# %%
# %matplotlib inline
import numpy as np

from corecrown.postprocess import read_reference
from corecrown.postprocess.distortion import measure_distortion
from corecrown.postprocess.reference import reference_names
from corecrown.structures import build

study = read_reference(reference_names()[0])
print("cells:", ", ".join(study.labels))

# %% [markdown]
# ## Octahedra
#
# Angles Pb-Br-Pb (180° in the cubic crystal), the variance of bond lengths (1/6 Σ((d−d̄)/d̄)², Shannon 1976), that of angles
# (1/11 Σ(θ−90°)², Robinson 1971), and tilts about a, b and c.

# %%
for cell in study.cells:
    found = cell.distortion
    tilts = {axis: round(tilt, 1) for axis, tilt in (found.tilts_deg or {}).items()}
    print(
        f"{cell.label}: Pb-Br-Pb {np.mean(found.pb_br_pb_deg):.1f}° ± {np.std(found.pb_br_pb_deg):.1f}°, "
        f"length variance {found.bond_length_variance:.1e}, angle variance {found.angle_variance_deg2:.1f} deg², tilts {tilts}"
    )

# %% [markdown]
# The same function takes any structure, with or without site properties. A cell as it was built, before relaxation, still has
# the octahedra of CsPbBr3: the distortion is what relaxing round FA does.

# %%
built = measure_distortion(build(25, "b"))
print(f"as built: Pb-Br-Pb {np.mean(built.pb_br_pb_deg):.1f}° ± {np.std(built.pb_br_pb_deg):.1f}°")

# %% [markdown]
# ## Masses
#
# A step `masses` measures the whole tensor from a stencil around each edge. Lines of a band structure give masses along
# themselves, if the points lie close enough: a line that is too coarse is refused rather than fitted.

# %%
from corecrown.postprocess.mass_paths import path_masses
from corecrown.postprocess.mass_table import mass_table, mass_table_markdown

if any(cell.masses is not None for cell in study.cells):
    print(mass_table_markdown(mass_table(study.cells)))
    coupled = mass_table(study.cells, spin_orbit=True)
    print("\nwith spin-orbit coupling:" if coupled else "no masses with spin-orbit coupling")
    print(mass_table_markdown(coupled))
else:
    print("no cell of this study went through the step 'masses': corecrown study run with steps: [..., masses]")

# %% [markdown]
# Without spin-orbit coupling the electron's edge is one of three Pb p bands, and not the same one in all cells: without FA one that
# is light in the plane, in the cells with FA the one that is light along c. The jump of the electron's masses is this change of
# band, not an effect of FA on one band. Coupling mixes the three, and masses with it are what a comparison should rest on.
#
# The bands along lines have few points near Γ: their parabolas are another measure, coarser, and are not mixed with the tensors.

# %%
lines = {}
for cell in study.cells:
    if "bands" not in cell.files:
        print(f"{cell.label}: no bands")
        continue
    lines[cell.label] = path_masses(study.bands(cell.label))
    for row in lines[cell.label].path_masses:
        value = "refused" if row.mass is None else f"{row.mass:.3f}"
        print(cell.label, row.carrier.value, " → ".join(row.direction), value)
    for note in lines[cell.label].notes:
        print("   ", note)

# %% [markdown]
# ## The figure
#
# Every Pb-Br-Pb angle of every cell with its mean, and beside it the electron's masses from the tensors where there are any: open
# marks without spin-orbit coupling, filled ones with it. Where some cells have both, only those are drawn.

# %%
from corecrown.postprocess.plots import result_title
from corecrown.postprocess.plots.style import COLUMN_MM, CONDUCTION, LINE_COLOURS, LINE_MARKERS, PAGE_MM, VALENCE
from corecrown.postprocess.plots.style import new_figure, paper_style


def masses_of(masses):
    """Return the electron's masses along Γ-X, Γ-Y and Γ-Z from its tensor, or None where one is missing."""
    electron = masses.electron if masses is not None else None
    values = [getattr(electron, f"gamma_{axis}", None) for axis in ("x", "y", "z")]
    return None if None in values else values


known = {cell.label: values for cell in study.cells if (values := masses_of(cell.masses))}
coupled = {cell.label: values for cell in study.cells if (values := masses_of(cell.masses_spin_orbit))}
drawn = {label: values for label, values in known.items() if label in coupled or not coupled}
titles = {cell.label: result_title(cell) for cell in study.cells}
with paper_style():
    figure = new_figure(PAGE_MM if drawn else COLUMN_MM, 85)
    panels = figure.subplots(1, 2 if drawn else 1, squeeze=False)[0]
    for place, cell in enumerate(study.cells):
        angles = np.sort(cell.distortion.pb_br_pb_deg)
        height = place + np.linspace(-0.15, 0.15, len(angles))
        panels[0].plot(angles, height, "o", markersize=3, color=CONDUCTION if cell.fa_fraction else VALENCE)
        panels[0].plot([np.mean(angles)] * 2, [place - 0.3, place + 0.3], color="black", linewidth=0.8)
    panels[0].set_yticks(range(len(titles)), titles.values())
    panels[0].invert_yaxis()
    panels[0].set_xlabel("Pb-Br-Pb angle (°); lines: means")
    if drawn:
        for number, (marker, colour, (label, values)) in enumerate(zip(LINE_MARKERS, LINE_COLOURS, drawn.items())):
            places = np.arange(3) + 0.15 * (number - (len(drawn) - 1) / 2)
            panels[1].plot(places, values, marker, color=colour, fillstyle="none", label=titles[label])
            if label in coupled:
                panels[1].plot(places, coupled[label], marker, color=colour)
        panels[1].set_xticks(range(3), ["Γ-X", "Γ-Y", "Γ-Z"])
        panels[1].set_xlim(-0.5, 2.5)
        panels[1].set_yscale("log")
        panels[1].set_yticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
        panels[1].minorticks_off()
        panels[1].set_ylabel("Electron mass (m$_0$)")
        panels[1].set_ylim(0.08, 2.5)
        title = "filled: with spin-orbit coupling" if coupled else None
        above = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "ncols": 2, "columnspacing": 1}
        panels[1].legend(title=title, fontsize="small", title_fontsize="small", **above)
figure
