"""Pages of reference made from the code: commands from typer, study file, settings and results from pydantic models."""

import inspect
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

__all__ = ["pages"]


def pages() -> dict[str, str]:
    """Return the text of every page by its path below ``docs``."""
    return {
        "reference/commands.md": _commands_page(),
        "reference/study-file.md": _study_file_page(),
        "reference/protocols.md": _protocols_page(),
        "reference/settings.md": _settings_page(),
        "reference/results.md": _results_page(),
    }


def _commands_page() -> str:
    from corecrown.cli.main import app

    lines = [
        "# Commands",
        "",
        "Made from the program itself. Errors are one line and a hint on stderr; exit 2 means bad",
        "input, exit 1 that something which was started did not end well. With `--json` one JSON document goes to",
        'stdout, after an error `{"error": {"message", "hint", "exit_code"}}`, unless results were printed before it.',
        "",
    ]
    for name, command in _leaves(typer.main.get_command(app), "corecrown"):
        usage = " ".join(_usage(option) for option in command.params if _is_argument(option))
        lines += [
            f"## {name}",
            "",
            f"```console\n$ {name} {usage}".rstrip(),
            "```",
            "",
            inspect.cleandoc(command.help or ""),
            "",
        ]
        options = [option for option in command.params if not getattr(option, "hidden", False)]
        lines += ["| Option | Meaning | Default |", "|---|---|---|"]
        lines += [
            f"| {_option_names(option)} | {_plain(option.help or '')} | {_option_default(option)} |"
            for option in options
        ]
        lines.append("")
    return "\n".join(lines)


def _leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if not children:
        yield name, command
        return
    for child, below in children.items():
        yield from _leaves(below, f"{name} {child}")


def _is_argument(option: Any) -> bool:
    return not option.opts[0].startswith("-")


def _usage(option: Any) -> str:
    return option.metavar or option.name.upper()


def _option_names(option: Any) -> str:
    names = [*option.opts, *option.secondary_opts]
    return f"`{_usage(option)}`" if _is_argument(option) else ", ".join(f"`{name}`" for name in names)


def _option_default(option: Any) -> str:
    if option.required:
        return "required"
    default = option.default
    if default in (None, False, (), []) or callable(default):
        return ""
    return f"`{default.value if isinstance(default, Enum) else default}`"


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _study_file_page() -> str:
    from corecrown.resources import input_folder
    from corecrown.workflows.spec import StudySpec

    example = input_folder("studies", "substitution.yaml").read_text(encoding="utf-8")
    lines = [
        "# The study file",
        "",
        "YAML; unknown keys are errors that name the field. The shipped `substitution` study:",
        "",
    ]
    lines += ["```yaml", example.rstrip(), "```", ""]
    return "\n".join([*lines, *_models([StudySpec])])


def _protocols_page() -> str:
    from corecrown.resources import input_folder, input_names, read_yaml
    from corecrown.workflows import protocols

    lines = ["# Protocols and overrides", ""]
    lines += [
        "A protocol names how carefully each step is computed. `overrides: {STEP: {KEY: VALUE}}` in a study file",
        "",
    ]
    lines[-2] += " lays single"
    lines[-1] = "keys over it; these are the keys."
    lines += ["", "| Protocol | Converged | Uncertainty of a gap / eV | |", "|---|---|---|---|"]
    for name in input_names("protocols"):
        content = read_yaml(input_folder("protocols", f"{name}.yaml"))
        converged = "yes" if content.get("converged") else "no"
        lines.append(f"| `{name}` | {converged} | {content['gap_uncertainty_ev']} | {_plain(content['description'])} |")
    found = [
        model
        for _, model in inspect.getmembers(protocols, inspect.isclass)
        if issubclass(model, protocols.StepSettings) and model.__module__ == protocols.__name__
    ]
    found.sort(key=lambda model: (len(model.__mro__), inspect.getsourcelines(model)[1]))
    lines.append("")
    for model in found:
        below = [
            name for name in model.model_fields if model is protocols.StepSettings or name in model.__annotations__
        ]
        lines += _model(model, below)
    return "\n".join(lines)


def _settings_page() -> str:
    from corecrown.settings import Settings

    lines = ["# Settings of a machine", "", inspect.getdoc(Settings) or "", ""]
    lines += ["| Variable | Key of the file | Meaning | Default |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        lines.append(
            f"| `CORECROWN_{name.upper()}` | `{name}` | {_plain(field.description or '')} | {_default(field)} |"
        )
    return "\n".join([*lines, ""])


def _results_page() -> str:
    from corecrown.postprocess import paper, results

    lines = ["# Results", "", inspect.getdoc(results) or "", ""]
    lines += ["`study.json` in a study's folder is a `StudyResult`.", ""]
    return "\n".join([*lines, *_models([results.StudyResult, results.StepResult, paper.PaperComparison])])


def _models(roots: list[type[BaseModel]]) -> list[str]:
    """Return a section for each model that the roots hold, in the order they are met."""
    seen: list[type[BaseModel]] = []
    waiting = list(roots)
    while waiting:
        model = waiting.pop(0)
        if model in seen:
            continue
        seen.append(model)
        for field in model.model_fields.values():
            waiting += [
                one for one in _inside(field.annotation) if isinstance(one, type) and issubclass(one, BaseModel)
            ]
    return [line for model in seen for line in _model(model, list(model.model_fields))]


def _inside(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        if get_origin(annotation) is not Literal:
            yield from _inside(part)


def _model(model: type[BaseModel], names: list[str]) -> list[str]:
    doc = (inspect.getdoc(model) or "").split("\n\n")[0]
    lines = [f"## {model.__name__}", "", _plain(doc), "", "| Field | Kind | Meaning | Default |", "|---|---|---|---|"]
    for name in names:
        field = model.model_fields[name]
        lines.append(
            f"| `{field.alias or name}` | {_kind(field.annotation)} | {_plain(field.description or _unit(name))} "
            f"| {_default(field)} |"
        )
    return [*lines, ""]


UNITS = {"ev": "eV", "angstrom": "Å", "angstrom3": "Å³", "ry": "Ry", "deg": "degrees", "deg2": "degrees²",
         "s": "seconds", "e": "electrons", "v": "volts", "kbar": "kbar", "bohr": "bohr", "atom": "an atom"}  # fmt: skip


def _unit(name: str) -> str:
    """Return the unit that a name carries, for a field that says no more."""
    last = name.rsplit("_", 1)[-1]
    return f"in {UNITS[last]}" if "_" in name and last in UNITS else ""


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if isinstance(annotation, type):
        if issubclass(annotation, Enum):
            return ", ".join(f"`{member.value}`" for member in annotation)
        if issubclass(annotation, BaseModel):
            return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    if get_args(annotation) and any(
        isinstance(one, type) and issubclass(one, BaseModel) for one in _inside(annotation)
    ):
        models = [one for one in _inside(annotation) if isinstance(one, type) and issubclass(one, BaseModel)]
        links = ", ".join(f"[{one.__name__}](#{one.__name__.lower()})" for one in models)
        origin = get_origin(annotation)
        return f"{origin.__name__} of {links}" if origin in (list, dict, tuple) else f"{links} or null"
    text = re.sub(r"(typing|pathlib|collections\.abc|corecrown\.[\w.]+)\.", "", str(annotation))
    text = re.sub(r"<(?:class|enum) '([\w.]+)'>", r"\1", text)
    return f"`{text.replace(' | None', ' or null').replace('|', 'or')}`"


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return ""
    if field.default is PydanticUndefined or field.default is None:
        return ""
    default = field.default.value if isinstance(field.default, Enum) else field.default
    return f"`{default}`"
