"""The reference of the documentation site, generated: ``python -m tools.docs`` writes docs/reference/.

Owns how options, commands and public names become pages, so that none of them is written down a second time.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import click

import datasetkit
from datasetkit.cli.build import RecipeFile, build
from datasetkit.cli.commands import command
from datasetkit.cli.group import COMMANDS, DATASET, HEADS, TOOLS
from datasetkit.cli.lazy import Lazy, LazyGroup
from datasetkit.cli.screen import Screen
from datasetkit.cli.signals import AFTER_SIGNALS, WORDS
from datasetkit.core.errors import DatasetkitError
from datasetkit.core.results import Result
from datasetkit.core.text import Explained
from datasetkit.options import presets
from datasetkit.options.base import Options, PartOptions
from datasetkit.options.build import BuildOptions, RunOptions
from datasetkit.options.grounding import GroundingOptions
from datasetkit.options.models import CAPTIONERS, DETECTORS, GROUNDERS, PHRASE_FINDERS, SEGMENTERS
from datasetkit.options.sources import SOURCES, options_of_source
from datasetkit.runtime.packages import RAY
from tools.docs.tables import escape, panels, table, walk

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
_EVERY = "Every command also takes the [options of all commands](tools.md#options-of-all-commands)."


def write(folder: Path = FOLDER) -> None:
    """Write every page of the reference anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    pages = {
        "build": build_page(),
        "dataset": command_page("Dataset commands", DATASET),
        "heads": command_page("Head commands", HEADS),
        "tools": tools_page(),
        "models": models_page(),
        "python": python_page(),
        "results": results_page(),
        "records": module_page(
            "Records", "datasetkit.core.record", "datasetkit.core.mask", "datasetkit.core.label_map"
        ),
        "reasons": reasons_page(),
        "protocols": module_page(
            "Plug-in protocols",
            "datasetkit.core.protocols",
            "datasetkit.core.detections",
            "datasetkit.runtime.engines.protocol",
        ),
    }
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text.rstrip() + "\n", encoding="utf-8")


def build_page() -> str:
    """Return the page of ``datasetkit build``: each source's own options, then those of every build."""
    parts = ["# datasetkit build\n", escape(build.help or ""), "", _EVERY, ""]
    for name in SOURCES.builtin:
        kind = options_of_source(name)
        shown = command(name, (kind, BuildOptions), print, "")
        parts += [f"## build {name}\n", doc(kind), usage(f"build {name}", shown), table(kind)]
    shown = command("recipe", (RecipeFile, RunOptions), print, "")
    text = doc(RecipeFile)
    note = "Of the options of every build, those under Workers apply, and of the others those that decide no bytes."
    parts += ["## build recipe\n", text, usage("build recipe", shown), table(RecipeFile), note, ""]
    return "\n".join([*parts, "## Options of every build\n", *panels(BuildOptions)])


def command_page(title: str, panel: str) -> str:
    """Return the page of all commands of a panel but ``build``, which has its own."""
    parts = [f"# {title}\n", _EVERY, ""]
    for name, lazy in COMMANDS.items():
        if lazy.panel == panel and name != "build":
            for spelled, one in members(name, lazy):
                parts += [f"## {spelled}\n", *command_parts(spelled, one)]
    return "\n".join(parts)


def members(name: str, lazy: Lazy) -> Iterator[tuple[str, Lazy]]:
    """Yield a command, or the commands of a group, each as it is typed."""
    made = lazy.load(name)
    if isinstance(made, LazyGroup):
        yield from ((f"{name} {inner}", one) for inner, one in made.table.items())
    else:
        yield name, lazy


def command_parts(name: str, lazy: Lazy) -> list[str]:
    """Return what is said of one command."""
    made = lazy.load(name)
    kind = get_type_hints(made_of(lazy))["options"]
    return [escape(made.help or ""), usage(name, made), *panels(kind)]


def made_of(lazy: Lazy) -> Any:
    """Return the function that a command runs."""
    module, _, attribute = lazy.path.partition(":")
    return getattr(importlib.import_module(module), attribute)


def tools_page() -> str:
    """Return the page of the tools, of what every command takes, and of the exit codes."""
    codes = {0: "The command did what was asked.", 1: "It did not, or what it checked is at fault."}
    codes[click.UsageError.exit_code] = "The command line is wrong: an unknown command or option, or a missing one."
    for error in subclasses(DatasetkitError):
        if error.exit_code not in codes:
            codes[error.exit_code] = f"`{error.__name__}`: " + doc(error).partition("\n")[0]
    codes |= {AFTER_SIGNALS + number: f"A signal ended it ({number.name})." for number in WORDS}
    rows = "".join(f"| {code} | {text} |\n" for code, text in sorted(codes.items()))
    shown = "".join(
        f"| `--{option}` | {text} |\n"
        for option, text in (("version", "Print the version."), ("help", "Print the help text."))
    )
    return "\n".join(
        [
            command_page("Tools and exit codes", TOOLS),
            "## Options of all commands\n",
            table(Screen),
            "The program itself takes:\n",
            "| option | what it does |\n|---|---|\n" + shown,
            "## Exit codes\n",
            "| code | meaning |\n|---|---|\n" + rows,
        ]
    )


def models_page() -> str:
    """Return the page of presets, and of all options of models that ``--set`` and recipes take."""
    parts = ["# Models of a build\n", "## Presets\n"]
    for path in sorted(Path(presets.__file__).parent.glob("*.yaml")):
        parts += [f"### {path.stem}\n", f"```yaml\n{path.read_text(encoding='utf-8')}```\n"]
    for registry in (CAPTIONERS, DETECTORS, GROUNDERS, SEGMENTERS, PHRASE_FINDERS):
        parts += [f"## {registry.kind.capitalize()}s\n"]
        for name, part in registry.builtin.items():
            parts += [f"### {name}\n", doc(part.options), "", table(part.options, flat=True)]
    return "\n".join([*parts, "## What is done with what models find\n", *nested(GroundingOptions)])


def nested(kind: type[Options]) -> Iterator[str]:
    """Yield a table of the options inside each field that has some of its own, by their names in ``--set``."""
    for name, field in kind.model_fields.items():
        found = [one for one in walk(field.annotation) if isinstance(one, type) and issubclass(one, Options)]
        if found and not issubclass(found[0], PartOptions):
            yield f"### {name}\n\n{doc(found[0])}\n"
            yield table(found[0], flat=True, prefix=f"{name}.")


def python_page() -> str:
    """Return the page of all public functions, and of the errors that they raise."""
    names = [f"datasetkit.{name}" for name in datasetkit.__all__]
    return "# Python functions\n\n" + "\n".join(map(directive, [*names, "datasetkit.core.errors"]))


def results_page() -> str:
    """Return the page of what public functions return."""
    import_all()
    kinds = sorted(set(subclasses(Result)), key=lambda kind: kind.__name__)
    public: list[type[Any]] = [Result]
    public += [kind for kind in kinds if not kind.__name__.startswith("_") and ".cli." not in kind.__module__]
    others = ["datasetkit.hi_scoring.HeadScores", "datasetkit.hi_scoring.SparsePlan", "datasetkit.hi_scoring.sparsify"]
    names = [f"{kind.__module__}.{kind.__qualname__}" for kind in public]
    return "# Results\n\n" + "\n".join(map(directive, [*names, *others]))


def reasons_page() -> str:
    """Return the page of every reason and notice that files and cards show."""
    import_all()
    parts = ["# Reasons\n"]
    for kind in sorted(subclasses(Explained), key=lambda kind: kind.__name__):
        rows = [f"| `{one.value}` | {escape(one.explanation)} |" for one in kind]
        parts += [f"## {kind.__name__}\n", doc(kind), "", "| value | meaning |", "|---|---|", *rows, ""]
    return "\n".join(parts)


def module_page(title: str, *modules: str) -> str:
    """Return the page of whole modules."""
    return f"# {title}\n\n" + "\n".join(map(directive, modules))


def directive(name: str) -> str:
    """Return what mkdocstrings replaces by the docstrings of a name."""
    return f"::: {name}\n"


def import_all() -> None:
    """Import every module of the package, so that all classes of a kind are known, except for those that need Ray."""
    for module in pkgutil.walk_packages(datasetkit.__path__, "datasetkit."):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name != RAY.module:
                raise


def subclasses(kind: type) -> Iterator[type[Any]]:
    """Yield all imported subclasses of a class."""
    found: type[Any]
    for found in type.__subclasses__(kind):
        yield found
        yield from subclasses(found)


def doc(kind: type) -> str:
    """Return the docstring of a class as Markdown."""
    return escape((inspect.getdoc(kind) or "").replace("``", "`"))


def usage(name: str, shown: click.Command) -> str:
    """Return how a command is typed, arguments included."""
    words = [one.make_metavar(click.Context(shown)) for one in shown.params if isinstance(one, click.Argument)]
    needed = [
        one.opts[0] + " " + (one.metavar or "")
        for one in shown.params
        if isinstance(one, click.Option) and one.required
    ]
    return "\n```text\n" + " ".join(["datasetkit", name, *words, *needed, "[OPTIONS]"]) + "\n```\n"


if __name__ == "__main__":
    write()
