"""Build the documentation into ``build/site``: ``python docs/build_site.py``; every warning is an error.

Pages are those of ``docs/``, the notebooks as text, and the reference, which is made from the code.
"""

import re
import shutil
import sys
from pathlib import Path

import make_reference
from sphinx.cmd.build import build_main

DOCS = Path(__file__).parent
ROOT = DOCS.parent
SOURCE, SITE = ROOT / "build" / "docs", ROOT / "build" / "site"

MAGIC = "# %matplotlib inline\n"
PICTURES = {".png", ".svg"}
LINK_UP = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+)([^)#]+)(?:#[^)]*)?\)")

ORDER = {
    "Start": ["install", "tutorial", "howto", "gallery", "gallery/README"],
    "The source study": ["paper"],
    "Topics": ["structures", "engine", "vasp", "convergence", "masses", "excitation", "sts", "theory"],
    "Running": ["clusters", "checks", "failures", "cluster-failures"],
    "Notebooks": [],
    "Reference": [
        "reference/commands",
        "reference/study-file",
        "reference/protocols",
        "reference/settings",
        "reference/results",
        "reference/python",
    ],
}
"""Pages by group; one that is not there is left out, and one that is not named here goes to Topics."""


def main() -> int:
    """Gather the pages and build; return what sphinx returns."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    pages = {path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md")}
    pages = {
        path: text
        for path, text in pages.items()
        if path.count("/") == 0 or path.startswith(("reference/", "gallery/"))
    }
    pages |= make_reference.pages() | notebook_pages()
    pages["index.md"] += navigation({path.removesuffix(".md") for path in pages})
    for path, text in pages.items():
        (SOURCE / path).parent.mkdir(parents=True, exist_ok=True)
        (SOURCE / path).write_text(without_outside(text, path.count("/")), encoding="utf-8")
    for path in DOCS.rglob("*"):
        if path.suffix in PICTURES:
            copy = SOURCE / path.relative_to(DOCS)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    return int(build_main(["-q", "-W", "--keep-going", "-b", "html", "-c", str(DOCS), str(SOURCE), str(SITE)]))


def without_outside(text: str, depth: int) -> str:
    """Show the path of a file of the repository that is no page, where a page so many folders down links to it."""

    def shown(link: re.Match[str]) -> str:
        return f"{link[1]} (`{link[3]}`)" if link[2].count("../") > depth else link[0]

    return LINK_UP.sub(shown, text)


def navigation(there: set[str]) -> str:
    """Return the tables of contents, from the pages that are there."""
    named = {page for group in ORDER.values() for page in group}
    groups = {name: [page for page in pages if page in there] for name, pages in ORDER.items()}
    groups["Topics"] += sorted(page for page in there - named - {"index"} if "/" not in page)
    groups["Notebooks"] = sorted(page for page in there if page.startswith("notebooks/"))
    trees = [
        "\n".join(["", "```{toctree}", ":hidden:", f":caption: {name}", "", *pages, "```", ""])
        for name, pages in groups.items()
        if pages
    ]
    return "\n".join(trees)


def notebook_pages() -> dict[str, str]:
    """Return the notebooks as pages: text cells as they are, code cells as code."""
    return {
        f"notebooks/{path.stem}.md": _as_page(path.read_text(encoding="utf-8"), path.name)
        for path in sorted((ROOT / "notebooks").glob("*.py"))
    }


def _as_page(source: str, name: str) -> str:
    """Turn a notebook in percent format into a page."""
    parts = []
    for cell in source.split("# %%")[1:]:
        head, _, body = cell.partition("\n")
        if "[markdown]" in head:
            parts.append("\n".join(line.removeprefix("#").removeprefix(" ") for line in body.strip().splitlines()))
        elif body.strip():
            parts.append(f"```python\n{body.replace(MAGIC, '').strip()}\n```")
    note = f"*This is the notebook `notebooks/{name}`; `jupytext --to ipynb notebooks/{name}` makes one to run.*"
    picture = f"images/notebook-{name[0]}.png"
    last = [f"![The figure](../{picture})"] if (DOCS / picture).is_file() else []
    return "\n\n".join([parts[0], note, *parts[1:], *last]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
