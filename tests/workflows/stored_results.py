"""Results of steps as their folders keep them, made up for tests of the folders."""

from corecrown.postprocess.results import RunSettings, Step, StepResult, StepTiming


def result(key="k1", folder="attempt-001", **fields):
    return StepResult(
        step=Step.SCF,
        label="fa000",
        key=key,
        folder=folder,
        engine="espresso",
        code="Quantum ESPRESSO",
        code_version="6.7",
        settings=RunSettings(functional="PBE"),
        timing=StepTiming(wall_s=1, core_s=2),
        structure={"sites": []},
        **fields,
    )
