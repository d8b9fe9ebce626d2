"""Texts of pages that come from the code: docstrings field by field, and tables of the installed."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from dataclasses import MISSING, dataclass, is_dataclass
from dataclasses import fields as dataclass_fields
from types import FunctionType
from typing import TYPE_CHECKING, Any

import msgspec

import hepbench
import lists
import snippets
from hepbench.cli.catalogue import size_text
from hepbench.registry.plugins import installed
from hepbench.specs.parameters import in_words
from hepbench.specs.training_settings import TRAINING
from hepbench.training.fit_settings import FitSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hepbench import Dataset

HEADER = re.compile(r"(Args|Attributes|Raises):$")

ENTRY = re.compile(r"(\*{0,2}\w+(?:, \w+)*): ")


@dataclass(frozen=True)
class Docstring:
    """A docstring: its text without sections, and the entries of each section."""

    text: str
    sections: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, documented: Any) -> Docstring:
        """Return the docstring of a class or a function."""
        return cls.parse(inspect.getdoc(documented) or "")

    @classmethod
    def parse(cls, docstring: str) -> Docstring:
        """Divide a docstring into text and sections."""
        text: list[str] = []
        sections: dict[str, list[str]] = {}
        into = text
        for line in docstring.splitlines():
            if header := HEADER.match(line):
                into = sections.setdefault(header[1], [])
            elif line and not line.startswith(" ") and into is not text:
                into = text
                text.append(line)
            else:
                into.append(line)
        plain = "\n".join(text).strip().removeprefix("Interface: ").removeprefix("Hook: ")
        plain = plain[:1].upper() + plain[1:]
        return cls(plain, {name: entries(lines) for name, lines in sections.items()})


def entries(lines: list[str]) -> dict[str, str]:
    """Return the entries ``name: text`` of a section by name; what has no name is under ''."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in inspect.cleandoc("\n".join(lines)).splitlines():
        if entry := ENTRY.match(line):
            name = entry[1]
            found[name] = [line[entry.end() :]]
        else:
            found.setdefault(name, []).append(line.strip())
    return {name: " ".join(filter(None, texts)) for name, texts in found.items()}


def described(target: str) -> str:
    """Return what the code says of ``module:Name``: a class field by field, a function, a value.

    Raises:
        ValueError: a field of the class is not described.
    """
    module, _, name = target.partition(":")
    found = getattr(importlib.import_module(module), name)
    if isinstance(found, type) and found.__name__ == name:
        lines = methods(found)
        head = ["Properties and methods:\n"] if lines else []
        return joined(described_class(found), [*head, *lines], raised(Docstring.of(found)))
    if isinstance(found, FunctionType):
        return described_function(found)
    return value_docstring(module, name)


def described_fields(target: str) -> str:
    """Return what the code says of the class ``module:Name`` and its fields, not of its methods."""
    module, _, name = target.partition(":")
    return described_class(getattr(importlib.import_module(module), name))


def described_class(cls: type) -> str:
    """Return the text of a class and a list of its fields.

    Raises:
        ValueError: a field of the class is not described.
    """
    docstring = Docstring.of(cls)
    said = {**docstring.sections.get("Attributes", {}), **docstring.sections.get("Args", {})}
    known = fields(cls)
    missing = known.keys() - {name for names in said for name in names.split(", ")}
    if missing:
        msg = f"{cls.__name__}: the docstring does not describe {', '.join(sorted(missing))}"
        raise ValueError(msg)
    lines = [
        f"- {', '.join(known.get(name, f'`{name}`') for name in names.split(', '))}: {text}"
        for names, text in said.items()
    ]
    return joined(docstring.text, lines)


def fields(cls: type) -> dict[str, str]:
    """Return ``name: type = default`` of each field of a class, by name."""
    types = {name: text for c in reversed(cls.__mro__) for name, text in own_types(c).items()}
    defaults = dict(default_values(cls))
    names = [name for name in types if not name.startswith("_")]
    return {
        name: f"`{name}: {types[name]}{f' = {defaults[name]}' if name in defaults else ''}`"
        for name in names
    }


def own_types(cls: type) -> dict[str, str]:
    """Return the annotations of a class as they are written, of hepbench's classes only."""
    ours = cls.__module__.startswith("hepbench")
    return {n: str(t) for n, t in inspect.get_annotations(cls).items()} if ours else {}


def default_values(cls: type) -> Iterator[tuple[str, str]]:
    """Yield name and default, as code, of each field of a dataclass or struct that has one."""
    if is_dataclass(cls):
        for field in dataclass_fields(cls):
            if field.default is not MISSING:
                yield field.name, as_code(field.default)
            elif field.default_factory is not MISSING:
                yield field.name, as_code(field.default_factory())
    elif issubclass(cls, msgspec.Struct):
        for each in msgspec.structs.fields(cls):
            if each.default is not msgspec.NODEFAULT:
                yield each.name, as_code(each.default)
            elif each.default_factory is not msgspec.NODEFAULT:
                yield each.name, as_code(each.default_factory())


def as_code(value: Any) -> str:
    """Return a default as Python code; the entries of a set are in order."""
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, frozenset):
        inside = ", ".join(as_code(each) for each in sorted(value))
        return f"frozenset({{{inside}}})" if inside else "frozenset()"
    if isinstance(value, tuple):
        inside = ", ".join(map(as_code, value))
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if is_dataclass(value) or isinstance(value, msgspec.Struct):
        return f"{type(value).__name__}()"
    return repr(value)


def methods(cls: type) -> list[str]:
    """Return an entry for each public method and property that a class defines."""
    lines = []
    for name, member in vars(cls).items():
        inner = getattr(member, "fget", None) or getattr(member, "__func__", member)
        public = not name.startswith("_") or name == "__call__"
        if isinstance(inner, FunctionType) and public and inner.__doc__:
            head = name if isinstance(member, property) else f"{name}{signature(inner)}"
            lines.append(f"- `{head}`: {sentence(Docstring.of(inner))}")
    return lines


def sentence(docstring: Docstring) -> str:
    """Return a docstring as one paragraph, with its sections behind its text."""
    parts = [" ".join(docstring.text.split())]
    parts += [f"`{n}`: {text}" for n, text in docstring.sections.get("Args", {}).items()]
    return " ".join(parts)


def raised(docstring: Docstring) -> list[str]:
    """Return a line, or an entry of a list, for each error of a docstring."""
    found = [f"`{name}`: {text}" for name, text in docstring.sections.get("Raises", {}).items()]
    return [f"Raises {found[0]}"] if len(found) == 1 else [f"- Raises {each}" for each in found]


def joined(*parts: str | list[str]) -> str:
    """Return paragraphs and lists as Markdown, without the empty ones."""
    texts = [part if isinstance(part, str) else "\n".join(part) for part in parts]
    return markdown("\n\n".join(filter(None, texts)))


def markdown(text: str) -> str:
    """Return the text of docstrings with code as Markdown writes it."""
    return re.sub(r"(?<!`)``([^`].*?)``(?!`)", r"`\1`", text, flags=re.DOTALL)


class Annotation(str):
    """An annotation that is shown as it is written."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def signature(function: FunctionType) -> str:
    """Return the parameters and the result of a function as they are written."""
    found = inspect.signature(function)
    parameters = [
        p if p.annotation is p.empty else p.replace(annotation=Annotation(p.annotation))
        for p in found.parameters.values()
        if p.name not in {"self", "cls"}
    ]
    result = found.return_annotation
    if result is not found.empty:
        result = Annotation(result)
    return str(found.replace(parameters=parameters, return_annotation=result))


def described_function(function: FunctionType) -> str:
    """Return the signature and the docstring of a function."""
    docstring = Docstring.of(function)
    code = f"```python\n{function.__name__}{signature(function)}\n```"
    arguments = [f"- `{n}`: {text}" for n, text in docstring.sections.get("Args", {}).items()]
    return joined(code, docstring.text, arguments, raised(docstring))


def value_docstring(module: str, name: str) -> str:
    """Return the docstring below an assignment in a module.

    Raises:
        ValueError: there is none.
    """
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    for statement, below in zip(tree.body, tree.body[1:], strict=False):
        targets = getattr(statement, "targets", [getattr(statement, "target", None)])
        if any(isinstance(t, ast.Name) and t.id == name for t in targets):
            match below:
                case ast.Expr(value=ast.Constant(value=str() as text)):
                    return markdown(inspect.cleandoc(text))
    msg = f"{module}:{name} has no docstring"
    raise ValueError(msg)


def training_settings(_: str) -> str:
    """Return a table of the settings of ``Context.fit``."""
    said = Docstring.of(FitSettings).sections["Attributes"]
    lines = ["| setting | default | allowed | what it is |", "|---|---|---|---|"]
    for name, param in TRAINING.items():
        lines.append(f"| `{name}` | `{param.default}` | {allowed(param.allowed)} | {said[name]} |")
    return markdown("\n".join(lines))


def allowed(values: Any) -> str:
    """Return the allowed values of a parameter in words."""
    if values is None:
        return ""
    if isinstance(values, dict):
        return "; ".join(f"`{name}`: {in_words(each)}" for name, each in values.items())
    return in_words(values)


def errors(_: str) -> str:
    """Return a list of the public errors and warnings."""
    found = [getattr(hepbench, name) for name in hepbench.__all__ if name[0].isupper()]
    kinds = [kind for kind in found if isinstance(kind, type) and issubclass(kind, Exception)]
    return "\n".join(f"- `{kind.__name__}`: {Docstring.of(kind).text}" for kind in kinds)


def datasets(_: str) -> str:
    """Return a table of the datasets that come with hepbench."""
    lines = ["| dataset | what it is | inputs, and what views make | original | sample |"]
    lines.append("|---|---|---|---|---|")
    for entry in installed().entries("dataset"):
        if entry.plugin.distribution == "hepbench-plugins":
            spec = entry.spec
            sample = f"{spec.sample.examples:,} examples"
            lines.append(
                f"| `{spec.name}` | {spec.summary} | {inputs(spec)} | {size(spec)} | {sample} |"
            )
    return "\n".join(lines)


def inputs(spec: Dataset) -> str:
    """Return the inputs of a dataset with their shapes, and the inputs that its views add."""
    shapes = {name: " x ".join(map(str, given.shape)) for name, given in spec.inputs.items()}
    read = [f"{name} {shape}" for name, shape in shapes.items() if name != "mask"]
    added = [name for name in spec.views if name not in {*spec.inputs, "mask"}]
    return "; ".join(filter(None, [", ".join(read), ", ".join(added)]))


def size(spec: Dataset) -> str:
    """Return the size of the original files of the first form, if all sizes are known."""
    sizes = [file.bytes for file in spec.files if file.form == spec.files[0].form]
    return size_text(sum(sizes)) if all(sizes) else "size not known"


MADE: Mapping[str, Callable[[str], str]] = {
    "code": snippets.snippet,
    "datasets": datasets,
    "described": described,
    "errors": errors,
    "fields": described_fields,
    "modules": lists.modules,
    "original-files": lists.original_files,
    "parameters": lists.parameters,
    "published": lists.published,
    "training-settings": training_settings,
}
"""Kind of a made part -> function of its argument."""
