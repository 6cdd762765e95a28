"""Electronic structure of formamidinium-substituted CsPbBr3, set beside scanning tunnelling spectroscopy.

The rooms of the house are :mod:`corecrown.structures` (atoms), :mod:`corecrown.workflows` (calculations),
:mod:`corecrown.postprocess` (physics and pictures). Nothing heavy is imported here.
"""

from importlib.metadata import version as _version

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """Look the version up when it is asked for: reading the metadata takes longer than the import itself."""
    if name == "__version__":
        return _version("corecrown")
    raise AttributeError(f"module 'corecrown' has no attribute {name!r}")
