"""Readers of sweeps: formats, units, messages, and files that are wrong."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corecrown.errors import InputError
from corecrown.postprocess.sts.columns import Signal, parse_column
from corecrown.postprocess.sts.model import Labels, make_sweeps
from corecrown.postprocess.sts.readers import SWEEP_FORMATS, read_sweep_file, read_sweeps, sweep_format
from corecrown.postprocess.sts.synthetic import CORE, generate, write_csv

BIAS = np.linspace(-2, 2, 41)
CURRENT = 1e-10 * BIAS**3


def table(header, bias=BIAS, current=CURRENT, comma=","):
    rows = [f"{v:.6g}{comma}{i:.6g}" for v, i in zip(bias, current, strict=True)]
    return "\n".join([*([header] if header else []), *rows]) + "\n"


def write(folder: Path, text: str | bytes, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


@pytest.mark.parametrize(
    ("header", "bias_factor", "current_factor"),
    [
        ("bias_V,current_A", 1, 1),
        ("bias_mV,current_nA", 1e3, 1e9),
        ("Bias (V),Current (pA)", 1, 1e12),
        ("Bias [mV],Current [µA]", 1e3, 1e6),
        ("V/V,I/nA", 1, 1e9),
        ("Voltage_V,Tunnel current_A", 1, 1),
    ],
)
def test_units_of_the_header_are_taken_to_volts_and_amperes(tmp_path, header, bias_factor, current_factor):
    (sweep,) = read_sweep_file(write(tmp_path, table(header, BIAS * bias_factor, CURRENT * current_factor)))
    np.testing.assert_allclose(sweep.bias_v, BIAS, atol=1e-9)
    np.testing.assert_allclose(sweep.current_a, CURRENT, rtol=1e-4)


@pytest.mark.parametrize(("suffix", "mark"), [(".tsv", "\t"), (".txt", " "), (".dat", ";"), (".xy", "  ")])
def test_separators_and_plain_columns(tmp_path, suffix, mark):
    (sweep,) = read_sweep_file(write(tmp_path, table("", comma=mark), f"a{suffix}"))
    np.testing.assert_allclose(sweep.current_a, CURRENT, rtol=1e-4)


def test_decimal_commas_between_semicolons(tmp_path):
    text = table("bias_V;current_A", comma=";").replace(".", ",")
    (sweep,) = read_sweep_file(write(tmp_path, text))
    np.testing.assert_allclose(sweep.bias_v, BIAS, atol=1e-6)


def test_a_descending_sweep_is_turned_and_a_round_trip_is_two_sweeps(tmp_path):
    (down,) = read_sweep_file(write(tmp_path, table("bias_V,current_A", BIAS[::-1], CURRENT[::-1])))
    assert (np.diff(down.bias_v) > 0).all()
    there_and_back = np.concatenate([BIAS, BIAS[-2::-1]])
    current = np.concatenate([CURRENT, 1.1 * CURRENT[-2::-1]])
    sweeps = read_sweep_file(write(tmp_path, table("bias_V,current_A", there_and_back, current)))
    assert [sweep.direction for sweep in sweeps] == ["forward", "backward"]
    assert sweeps[1].current_a[0] == pytest.approx(1.1 * CURRENT[0])


def test_platelet_and_sweep_number_from_name_or_metadata(tmp_path):
    files = write_csv(generate(CORE, 2, seed=1, sweeps_per_platelet=3, name="np", points=101), tmp_path)
    batch = read_sweeps(tmp_path)
    assert len(batch) == len(files) == 6
    assert {sweep.platelet for sweep in batch.sweeps} == {"np_000", "np_001"}
    assert sorted({sweep.number for sweep in batch.sweeps}) == [1, 2, 3]
    assert all(sweep.synthetic and sweep.temperature_k == 292 for sweep in batch.sweeps)
    (named,) = read_sweep_file(
        write(tmp_path, "# platelet: seven\n# sweep: 5\n# temperature_K: 77\n" + table("bias_V,current_A"), "x.csv")
    )
    assert (named.platelet, named.number, named.temperature_k) == ("seven", 5, 77)


def nanonis_dat(columns, rows, head=""):
    lines = ["Experiment\tbias spectroscopy\t", "User\tMüller\t", "Bias>Bias (V)\t100E-3\t", "Temperature (°C)\t19\t"]
    body = ["\t".join(f"{x:.6E}" for x in row) for row in rows]
    return "\r\n".join([*lines, head, "[DATA]", "\t".join(columns), *body, ""]).encode("latin-1")


def test_nanonis_point_spectrum_with_latin1_header_both_ways_and_several_sweeps(tmp_path):
    columns = ["Bias calc (V)", "Current [00001] (A)", "Current [00002] (A)", "Current [AVG] (A)"]
    columns += ["LI Demod 1 X (A)", "Current [00001] [bwd] (A)"]
    rows = [(v, i, 2 * i, 1.5 * i, i, 3 * i) for v, i in zip(BIAS[::-1], CURRENT[::-1], strict=True)]
    sweeps = read_sweep_file(write(tmp_path, nanonis_dat(columns, rows), "p.dat"))
    assert [(s.number, s.direction) for s in sweeps] == [(1, "forward"), (2, "forward"), (1, "backward")]
    np.testing.assert_allclose(sweeps[2].current_a, 3 * CURRENT, rtol=1e-5, atol=1e-20)
    assert sweeps[0].set_point_v == 0.1
    assert sweeps[0].temperature_k == pytest.approx(292.15)
    assert sweeps[0].metadata["User"] == "Müller"


def test_nanonis_lock_in_channel_goes_with_its_direction(tmp_path):
    columns = ["Bias calc (V)", "Current (A)", "LI Demod 1 X (A)", "LI Demod 1 Y (A)", "Current [bwd] (A)"]
    rows = [(v, i, 7 * i, 0, i) for v, i in zip(BIAS, CURRENT, strict=True)]
    forward, backward = read_sweep_file(write(tmp_path, nanonis_dat(columns, rows), "p.dat"))
    np.testing.assert_allclose(forward.lockin, 7 * CURRENT, rtol=1e-5, atol=1e-20)
    assert backward.lockin is None


def test_nanonis_other_experiment_is_refused(tmp_path):
    content = nanonis_dat(["Bias calc (V)", "Current (A)"], []).replace(b"bias spectroscopy", b"Z spectroscopy")
    with pytest.raises(InputError, match="not bias spectroscopy"):
        read_sweep_file(write(tmp_path, content, "z.dat"))


def nanonis_grid(spectra, channels=("Current (A)",), parameters=("X (m)", "Y (m)", "Z (m)"), dim="2 x 2", keep=None):
    n = len(spectra[0])
    head = [
        f'Grid dim="{dim}"',
        'Sweep Signal="Bias (V)"',
        'Fixed parameters="Sweep Start;Sweep End"',
        f'Experiment parameters="{";".join(parameters)}"',
        f"# Parameters (4 byte)={2 + len(parameters)}",
        f"Points={n}",
        f'Channels="{";".join(channels)}"',
        'User="Müller"',
    ]
    body = b""
    for spectrum in spectra:
        values = [BIAS[0], BIAS[-1], *(0.0 for _ in parameters), *spectrum]
        body += np.array(values, dtype=">f4").tobytes()
    return "\r\n".join([*head, ":HEADER_END:", ""]).encode("latin-1") + body[:keep]


def test_nanonis_grid(tmp_path):
    content = nanonis_grid([CURRENT * (k + 1) for k in range(4)])
    sweeps = read_sweep_file(write(tmp_path, content, "g.3ds"))
    assert [sweep.platelet for sweep in sweeps] == ["g[0,0]", "g[1,0]", "g[0,1]", "g[1,1]"]
    np.testing.assert_allclose(sweeps[3].current_a, 4 * CURRENT, rtol=1e-5)
    np.testing.assert_allclose(sweeps[3].bias_v, BIAS, atol=1e-6)


def test_an_aborted_grid_gives_what_was_measured_and_says_so(tmp_path):
    whole = nanonis_grid([CURRENT, CURRENT, 0 * CURRENT, CURRENT])
    one = 4 * (5 + len(BIAS))
    sweeps = read_sweep_file(write(tmp_path, whole[:-one], "g.3ds"))
    assert len(sweeps) == 2
    assert any("aborted: 3 of 4" in flag for flag in sweeps[0].flags)
    assert any("g[0,1] left out: the current does not vary" in flag for flag in sweeps[0].flags)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("\0\1\2" * 50, "binary"),
        ("bias_V,current_A\n", "no numbers"),
        ("bias_V,current_A\n1,2\n3,x\n", ":3: 'x' is not a number"),
        ("bias_V,current_A\n1,2\n3\n", ":3: 1 columns, not 2"),
        ("bias_V,current_A\n1,1_0\n2,3\n", ":2: '1_0' is not a number"),
        ("bias,current_A\n1,2\n", "'bias' has no unit"),
        ("bias_A,current_A\n1,2\n", "A is no unit of bias"),
        ("foo_V,bar_A\n1,2\n", "no column holds the current"),
        ("bias_V,current_A,x\n1,2\n", "the header names 3 columns"),
        ("1\n2\n", "one column"),
        (table("bias_V,current_A", BIAS[:5], CURRENT[:5]), "only 5 points"),
        (table("bias_V,current_A", BIAS * 1e3), "bias reaches"),
        (table("bias_V,current_A", BIAS, CURRENT * 1e9), "current reaches"),
        (table("bias_V,current_A", BIAS, 0 * CURRENT), "does not vary"),
        (table("bias_V,current_A", np.where(BIAS[7] == BIAS, BIAS[6], BIAS)), ":9: bias repeats"),
        (table("bias_V,current_A", np.roll(BIAS, 9)), "not monotonic"),
        (table("bias_V,current_A", BIAS, np.where(BIAS[3] == BIAS, np.nan, CURRENT)), ":5: current is nan"),
    ],
)
def test_wrong_files_are_named_with_line_and_reason(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_sweep_file(path)
    assert str(path) in caught.value.message
    assert re.search(message, caught.value.message)
    assert caught.value.hint


def test_the_rest_of_a_batch_goes_on(tmp_path):
    write(tmp_path, table("bias_V,current_A"), "good.csv")
    write(tmp_path, "bias_V,current_A\n1,2\n3,x\n", "bad.csv")
    write(tmp_path, "x", "strange.xls")
    batch = read_sweeps([tmp_path, tmp_path / "missing.csv"])
    assert len(batch) == 1
    reasons = {Path(skipped.file).name: skipped.reason for skipped in batch.skipped}
    assert reasons["bad.csv"] == "line 3: 'x' is not a number"
    assert "not a format" in reasons["strange.xls"]
    assert "cannot be read" in reasons["missing.csv"]
    with pytest.raises(InputError, match="no file matches"):
        read_sweeps(str(tmp_path / "*.none"))


def test_saturated_ends_are_cut_and_one_sided_sweeps_flagged(tmp_path):
    current = np.clip(1e-9 * BIAS**3, -8e-10, 8e-10)
    (sweep,) = read_sweep_file(write(tmp_path, table("bias_V,current_A", BIAS, current)))
    assert sum("saturated" in flag for flag in sweep.flags) == 2
    assert abs(sweep.bias_v).max() < 1.0
    assert np.unique(np.abs(sweep.current_a)).max() < 8e-10
    (half,) = read_sweep_file(write(tmp_path, table("bias_V,current_A", BIAS + 2, CURRENT)))
    assert any("one-sided" in flag for flag in half.flags)


def test_a_format_of_ones_own_is_a_function_registered_by_name(tmp_path):
    @sweep_format("mine", lambda path, head: path.suffix == ".mine")
    def read_mine(path, content):
        return make_sweeps(BIAS, CURRENT * float(content), Labels(platelet=path.stem, file=path))

    try:
        (sweep,) = read_sweep_file(write(tmp_path, "2", "a.mine"))
        np.testing.assert_allclose(sweep.current_a, 2 * CURRENT)
    finally:
        del SWEEP_FORMATS["mine"]


@pytest.mark.parametrize(
    ("name", "signal", "scale", "sweep", "direction"),
    [
        ("Bias calc (V)", Signal.BIAS, 1, None, "forward"),
        ("Current [00003] [bwd] (A)", Signal.CURRENT, 1, 3, "backward"),
        ("LI Demod 2 X [bwd] (A)", Signal.LOCKIN, 1, None, "backward"),
        ("LI Demod 1 Y (A)", None, 1, None, "forward"),
        ("I_nA", Signal.CURRENT, 1e-9, None, "forward"),
        ("dI/dV (a.u.)", Signal.LOCKIN, 1, None, "forward"),
        ("Z (m)", None, 1, None, "forward"),
    ],
)
def test_column_names(name, signal, scale, sweep, direction):
    column = parse_column(name)
    assert (column.signal, column.sweep, column.direction) == (signal, sweep, direction)
    if signal in (Signal.BIAS, Signal.CURRENT):
        assert column.scale == scale


def _sound(path: Path) -> None:
    """A file gives checked sweeps or an InputError that names it; nothing else."""
    message = ""
    sweeps = []
    try:
        sweeps = read_sweep_file(path)
    except InputError as error:
        message = error.message
    assert bool(sweeps) != (str(path) in message)
    for sweep in sweeps:
        assert np.isfinite(sweep.bias_v).all()
        assert np.isfinite(sweep.current_a).all()
        assert (np.diff(sweep.bias_v) > 0).all()
        assert np.abs(sweep.bias_v).max() <= 12
        assert np.abs(sweep.current_a).max() <= 1e-4


FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(content=st.binary(max_size=400), suffix=st.sampled_from([".csv", ".dat", ".3ds", ".txt", ".tsv"]))
def test_fuzzed_bytes(tmp_path, content, suffix):
    _sound(write(tmp_path, content, f"f{suffix}"))


@FUZZ
@given(
    header=st.sampled_from(["", "bias_V,current_A", "bias_mV,current_nA", "Bias (V),Current (A)", "V,I"]),
    cells=st.lists(
        st.tuples(
            st.one_of(st.floats().map(repr), st.text(max_size=6), st.integers().map(str)),
            st.one_of(st.floats().map(repr), st.text(max_size=6)),
        ),
        max_size=40,
    ),
)
def test_fuzzed_tables(tmp_path, header, cells):
    _sound(write(tmp_path, "\n".join([header, *(f"{a},{b}" for a, b in cells)]), "f.csv"))


@FUZZ
@given(st.data())
def test_damaged_files_of_every_format(tmp_path, data):
    columns = ["Bias calc (V)", "Current (A)"]
    good = {
        ".csv": table("bias_V,current_A").encode(),
        ".dat": nanonis_dat(columns, list(zip(BIAS, CURRENT, strict=True))),
        ".3ds": nanonis_grid([CURRENT] * 4),
    }
    suffix = data.draw(st.sampled_from(sorted(good)))
    content = bytearray(good[suffix])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["change", "cut", "insert", "drop"])):
            case "change":
                content[at] = data.draw(st.integers(0, 255))
            case "cut":
                del content[at + 1 :]
            case "insert":
                content[at:at] = data.draw(st.binary(max_size=8))
            case "drop":
                del content[at : at + data.draw(st.integers(1, 30))]
        if not content:
            break
    _sound(write(tmp_path, bytes(content), f"d{suffix}"))
