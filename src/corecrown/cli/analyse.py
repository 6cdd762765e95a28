"""``corecrown bands`` and ``corecrown pdos``: the same analysis on folders that someone else made."""

from pathlib import Path
from typing import Annotated, Any

import typer

from corecrown.cli.common import AsJson, Verbose, print_json, print_table
from corecrown.cli.figures import FigureFile, check_figure, write_figure
from corecrown.cli.stored import bands_at, dos_at

__all__ = ["register"]

Run = Annotated[
    Path,
    typer.Argument(
        metavar="PATH",
        help="Folder (or XML file) of a Quantum ESPRESSO or VASP run, or of a cell of a study: DIR/cells/LABEL.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(bands)
    app.command()(pdos)


def bands(path: Run, figure: FigureFile = None, as_json: AsJson = False, verbose: Verbose = False) -> None:
    """Find the edges in the bands of a run; draw them with --figure."""
    check_figure(figure)
    from corecrown.postprocess.edges import find_edges, is_metal

    found = bands_at(path)
    edges = find_edges(
        found.bands, "bands" if found.on_lines else "mesh", found.n_electrons, spin_orbit=found.spin_orbit
    )
    if figure is not None:
        _draw_bands(found, edges, figure)
    document = {
        "edges": edges.model_dump(mode="json"),
        "n_kpoints": len(found.bands.kpoints),
        "n_bands": found.bands.nb_bands,
        "n_electrons": found.n_electrons,
        "functional": found.functional,
        "spin_orbit": found.spin_orbit,
        "metal": is_metal(edges),
        "code": found.code,
        "code_version": found.code_version,
        "notes": [*found.notes, *edges.notes],
    }
    if as_json:
        print_json(document)
        return
    rows = [
        ("valence edge / eV", _value(edges.vbm_ev), _point(edges.vbm_kpoint)),
        ("conduction edge / eV", _value(edges.cbm_ev), _point(edges.cbm_kpoint)),
        ("gap / eV", _value(edges.gap_ev), "direct" if edges.direct else "indirect" if edges.direct is False else ""),
    ]
    spin_orbit = "with" if found.spin_orbit else "without"
    caption = f"{found.code} {found.code_version}, {found.functional} {spin_orbit} spin-orbit coupling"
    print_table(str(path), ("", "", "k-point"), rows, caption=caption)
    for note in (*found.notes, *edges.notes):
        typer.echo(f"  ! {note}")


def pdos(path: Run, figure: FigureFile = None, as_json: AsJson = False, verbose: Verbose = False) -> None:
    """Tell what the edges are made of; draw the projected density of states with --figure."""
    check_figure(figure)
    found, edges = dos_at(path)
    if figure is not None:
        from corecrown.postprocess.plots import plot_pdos

        write_figure(plot_pdos(found.dos, edges), figure)
    elements = sorted({element.symbol for element in found.dos.structure.elements})
    document = {
        "edge_character": {"vbm": found.edge_character.vbm, "cbm": found.edge_character.cbm},
        "elements": elements,
        "energy_range_ev": [float(found.dos.energies.min()), float(found.dos.energies.max())],
        "code": found.code,
        "notes": [*found.notes, *found.edge_character.notes],
    }
    if as_json:
        print_json(document)
        return
    characters = {"valence edge": found.edge_character.vbm, "conduction edge": found.edge_character.cbm}
    for name, character in characters.items():
        shares = sorted((character or {}).items(), key=lambda item: -item[1])
        print_table(f"{path}: {name}", ("orbital", "share"), [(orbital, f"{share:.3f}") for orbital, share in shares])
    for note in document["notes"]:
        typer.echo(f"  ! {note}")


def _draw_bands(found: Any, edges: Any, figure: Path) -> None:
    from corecrown.errors import InputError
    from corecrown.postprocess.plots import plot_bands

    if not found.on_lines:
        raise InputError("--figure: the k-points of this run are a mesh, not lines", "give the folder of a bands run")
    write_figure(plot_bands(found.bands, edges), figure)


def _value(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _point(kpoint: tuple[float, float, float] | None) -> str:
    return "" if kpoint is None else "(" + ", ".join(f"{value:.3f}" for value in kpoint) + ")"
