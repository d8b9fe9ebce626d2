"""Expands the matrix of a suite, with command-line options, into combinations to plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product
from typing import TYPE_CHECKING, Any, TypeVar

from hepbench.planning.input_shapes import shape_misfit
from hepbench.planning.settings import (
    all_params,
    check_augmentations,
    check_steps,
    checked,
    flat,
    former,
    written,
)
from hepbench.registry.plugins import Entry
from hepbench.specs.dataset import Dataset
from hepbench.specs.errors import UsageError
from hepbench.specs.model import Model
from hepbench.specs.parameters import defaults, preset_names
from hepbench.specs.references import assignment, chain, reference
from hepbench.specs.renamed import renamed
from hepbench.specs.text import LONGEST_NAME, did_you_mean, enumerated, shortened, unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hepbench.planning.suite_file import Matrix, SuiteFile
    from hepbench.registry.plugins import Registry
    from hepbench.specs.method import Method


Named = tuple[Entry, Mapping[str, Any]]
"""A plugin's entry, with the parameters that a suite gives in brackets."""


Labels = tuple[str, str, str]
"""Dataset, model and chain, each with the parameters that differ from the preset."""


@dataclass(frozen=True)
class Combination:
    """A dataset, a model and a chain of methods, with the values of all parameters."""

    labels: Labels
    dataset: Entry
    model: Entry
    methods: tuple[Entry, ...]
    dataset_params: Mapping[str, Any]
    model_params: Mapping[str, Any]
    method_params: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Misfit:
    """A combination of dataset, model and chain that cannot be run, with the reason."""

    labels: Labels
    reason: str


@dataclass(frozen=True)
class Choice:
    """Command-line options for a plan: globs that select cells, and settings."""

    datasets: Sequence[str] = ()
    models: Sequence[str] = ()
    methods: Sequence[str] = ()
    seeds: int | None = None
    preset: str | None = None
    overrides: Sequence[str] = ()


Item = TypeVar("Item", Combination, Misfit)


def expand(
    suite: SuiteFile, registry: Registry, choice: Choice
) -> tuple[list[Combination], list[Misfit]]:
    """Expand a suite into the combinations that can be run and those that cannot.

    Raises:
        UsageError: a name or glob matches nothing, a parameter or preset is unknown, or two plugins
            have the same name.
    """
    resolver = _Resolver(
        registry=registry,
        preset=choice.preset or suite.preset,
        presets={name: flat(tables) for name, tables in suite.presets.items()},
        overrides=dict(assignment(text) for text in choice.overrides),
    )
    items = [item for matrix in suite.run for item in resolver.expand(matrix)]
    kept = [item for item in items if all(_are_selected(item.labels, choice))]
    combinations = [item for item in kept if isinstance(item, Combination)]
    if not combinations:
        raise UsageError(_why_no_cell(choice, kept, items))
    resolver.check([item for item in items if isinstance(item, Combination)])
    misfits = [item for item in kept if isinstance(item, Misfit)]
    return _without_repetitions(combinations), _without_repetitions(misfits)


def misfit(dataset: Dataset, model: Model, methods: Sequence[Method]) -> str:
    """Return why a dataset, a model and a chain of methods do not fit together, or ''."""
    offered = {*dataset.inputs, *dataset.views}
    if missing := [name for name in model.inputs if name not in offered]:
        has = ", ".join(sorted(offered))
        return f"{model.name} needs input '{missing[0]}'; {dataset.name} has {has}"
    name, makes = "fresh", "fresh"
    for method in methods:
        if lacking := sorted(method.needs - model.offers):
            offers = ", ".join(sorted(model.offers))
            return f"{method.name} needs '{lacking[0]}'; {model.name} offers {offers}"
        if absent := [each for each in method.inputs if each not in model.inputs]:
            has = ", ".join(sorted(model.inputs))
            return f"{method.name} needs input '{absent[0]}'; {model.name} has {has}"
        if not {name, makes} & set(method.after):
            return f"{method.name} must follow {' or '.join(method.after)}, not {name}"
        name, makes = method.name, method.makes
    if makes != "classifier":
        return f"a chain cannot end with {name}; its last method must make a classifier"
    return ""


class _Resolver:
    """Resolves the parameters of each combination in the matrix of a suite.

    In this order, the last one wins: defaults under the preset, the suite's tables of that preset,
    the suite's ``set``, brackets, ``--set``.

    Attributes:
        presets: the suite's tables by preset, flat.
        preset_settings: those of the chosen preset for the current matrix.
        suite_set: the ``set`` of the current matrix.
        named: all presets that the suite names.
        used: paths of settings that have set a parameter.
        known: paths of all parameters so far, for messages.
        former: parameters that methods no longer have, by method, for messages.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        preset: str,
        presets: Mapping[str, Mapping[str, Any]],
        overrides: Mapping[str, Any],
    ) -> None:
        self.registry = registry
        self.preset = preset
        self.presets = presets
        self.overrides = overrides
        self.suite_set: Mapping[str, Any] = {}
        self.preset_settings: Mapping[str, Any] = {}
        self.named = set(presets)
        self.used: set[str] = set()
        self.known: set[str] = set()
        self.former: dict[str, Mapping[str, str]] = {}

    def expand(self, matrix: Matrix) -> Iterator[Combination | Misfit]:
        """Yield every combination of a suite's matrix, including those that cannot be run."""
        self.suite_set = matrix.set
        before, self.used = self.used, set()
        presets = {name: flat(tables) for name, tables in matrix.presets.items()}
        self.named.update(presets)
        tables = presets.get(self.preset, {})
        self.preset_settings = {**self.presets.get(self.preset, {}), **tables}
        axes = matrix.axes(self.preset)
        datasets = [
            (entry, {**params, **dict(zip(axes, values, strict=True))})
            for values in product(*axes.values())
            for entry, params in self._plugins_named("dataset", matrix.datasets)
        ]
        models = self._plugins_named("model", matrix.models)
        excluding: set[str] = set()
        for dataset, model, steps in product(datasets, models, self._chains_named(matrix.methods)):
            name = "/".join((dataset[0].spec.name, model[0].spec.name, _name_of_chain(steps)))
            if globs := [glob for glob in matrix.exclude if fnmatchcase(name, glob)]:
                excluding.update(globs)
            else:
                yield self._combination(dataset, model, steps)
        _check_globs_exclude(matrix.exclude, excluding)
        self._check_settings_were_used({**tables, **matrix.set})
        self.used |= before

    def check(self, combinations: Iterable[Combination]) -> None:
        """Raise UsageError if a preset is unknown, or a setting sets no known parameter."""
        self._check_settings_were_used(self.overrides)
        self._check_settings_were_used(self.presets.get(self.preset, {}))
        specs = [e.spec for c in combinations for e in (c.model, *c.methods)]
        presets = {"quick", "paper"}.union(*(preset_names(all_params(spec)) for spec in specs))
        for name in (self.preset, *sorted(self.named)):
            if name not in presets:
                raise UsageError(unknown("preset", name, presets))

    def _check_settings_were_used(self, values: Iterable[str]) -> None:
        for path in values:
            if path not in self.used:
                raise UsageError(f"set {path}: " + _why_unused(path, self.known, self.former))

    def _plugins_named(self, kind: str, texts: Sequence[str]) -> list[Named]:
        found: list[Named] = []
        known = self.registry.names(kind)
        for text in texts:
            ref = reference(text)
            names = ref.matches(known) if ref.is_glob else [ref.name]
            if not names:
                msg = f"'{shortened(text, LONGEST_NAME)}' matches no {kind}. Known: {enumerated(known)}"
                raise UsageError(msg)
            found += [(self.registry.entry(kind, name), ref.params) for name in names]
        return found

    def _chains_named(self, texts: Sequence[str]) -> list[tuple[Named, ...]]:
        chains: list[tuple[Named, ...]] = []
        for text in texts:
            steps = chain(text)
            if len(steps) == 1 and steps[0].is_glob:
                singles = self._plugins_named("method", [text])
                ends = [s for s in singles if s[0].spec.makes == "classifier"]
                chains += [self._completed_chain((step,)) for step in ends]
            else:
                chains.append(
                    self._chain_from_names(text, [s.name for s in steps], [s.params for s in steps])
                )
        return chains

    def _chain_from_names(
        self, text: str, names: list[str], params: Sequence[Mapping[str, Any]]
    ) -> tuple[Named, ...]:
        fresh = names[0] == "fresh"
        named = ((name, p) for name, p in zip(names, params, strict=True) if name != "fresh")
        steps = [(self.registry.entry("method", name), p) for name, p in named]
        if not steps or "fresh" in names[1:]:
            msg = f"'{text}': 'fresh' must begin a chain, before a method, as in fresh+linear-probe"
            raise UsageError(msg)
        return tuple(steps) if fresh else self._completed_chain(tuple(steps))

    def _completed_chain(self, steps: tuple[Named, ...]) -> tuple[Named, ...]:
        """Complete a chain of methods at its front with the methods that must come before."""
        seen = [steps[0][0].spec.name]
        while (before := steps[0][0].spec.after[0]) not in {"fresh", "encoder", "classifier"}:
            if before in seen:
                msg = f"methods need each other as their start: {' -> '.join([*seen, before])}"
                raise UsageError(msg)
            seen.append(before)
            steps = ((self.registry.entry("method", before), {}), *steps)
        return steps

    def _combination(
        self, dataset: Named, model: Named, steps: tuple[Named, ...]
    ) -> Combination | Misfit:
        dataset_label, dataset_params = self._resolve("dataset", dataset)
        model_label, model_params = self._resolve("model", model)
        resolved = [self._resolve(step[0].spec.name, step) for step in steps]
        text = "+".join(label for label, _ in resolved)
        # the first step follows another method by default, so here 'fresh' was written before it
        text = text if steps[0][0].spec.after[0] == "fresh" else f"fresh+{text}"
        labels = (dataset_label, model_label, text)
        specs = dataset[0].spec, model[0].spec
        reason = misfit(*specs, [entry.spec for entry, _ in steps])
        if reason := reason or shape_misfit(*specs, dataset_params, model_params):
            return Misfit(labels, reason)
        if "estimate" not in model[0].spec.offers:
            for (method, _), (_, params) in zip(steps, resolved, strict=True):
                check_augmentations(dataset[0].spec, method.spec, params)
        return Combination(
            labels=labels,
            dataset=dataset[0],
            model=model[0],
            methods=tuple(entry for entry, _ in steps),
            dataset_params=dataset_params,
            model_params=model_params,
            method_params=tuple(params for _, params in resolved),
        )

    def _resolve(self, prefix: str, named: Named) -> tuple[str, dict[str, Any]]:
        """Return the label of a plugin in a cell's name, and the values of all its parameters.

        The label shows the parameters that differ from the preset.

        Args:
            prefix: prefix of its settings: ``dataset``, ``model`` or the name of a method.
            named: the entry, and its parameters in brackets.
        """
        entry, in_brackets = named
        spec = entry.spec
        base = defaults(all_params(spec), self.preset)
        self.known |= {f"{prefix}.{name}" for name in base}
        self.former[prefix] = former(spec)
        of_preset = self._settings_for(prefix, self.preset_settings, base)
        chosen = {
            **self._settings_for(prefix, self.suite_set, base),
            **in_brackets,
            **self._settings_for(prefix, self.overrides, base),
        }
        # a dataset has no presets, so its label shows these settings
        if isinstance(spec, Dataset):
            chosen = {**of_preset, **chosen}
        else:
            base |= checked(spec, of_preset, base)
        params = {**base, **checked(spec, chosen, base)}
        if isinstance(spec, Model):
            check_steps(spec, params.get("preprocess", ()))
        differing = [f"{k}={written(v)}" for k, v in params.items() if v != base[k]]
        return spec.name + (f"[{','.join(differing)}]" if differing else ""), params

    def _settings_for(
        self, prefix: str, settings: Mapping[str, Any], params: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the settings for these parameters by name, and mark the settings as used."""
        found = {}
        for path, value in settings.items():
            head, _, name = path.rpartition(".")
            if head == prefix and name in params:
                found[name] = value
                self.used.add(path)
        return found


def _why_unused(path: str, known: set[str], former: Mapping[str, Mapping[str, str]]) -> str:
    """Return why a setting sets nothing: see ``_Resolver`` for ``known`` and ``former``."""
    head, _, name = path.rpartition(".")
    of_head = {p.rpartition(".")[2] for p in known if p.startswith(f"{head}.")}
    # a few dozen methods have hundreds of parameters: list those of one, or the methods
    groups = {f"{p.partition('.')[0]}.*" for p in known}
    listed = {f"{head}.{n}" for n in of_head} or groups
    return renamed(name, of_head, former.get(head)) or unknown(
        "parameter", path, known, listed=listed
    )


def _check_globs_exclude(globs: Sequence[str], excluding: set[str]) -> None:
    for glob in globs:
        if glob not in excluding:
            form = "dataset/model/chain without parameters, such as */mlp/pretrain+svm"
            msg = f"exclude: '{shortened(glob, LONGEST_NAME)}' excludes nothing; it matches {form}"
            raise UsageError(msg)


def _name_of_chain(steps: Sequence[Named]) -> str:
    return "+".join(entry.spec.name for entry, _ in steps)


def _without_repetitions(items: Iterable[Item]) -> list[Item]:
    """Return each combination once, even if several ``[[run]]`` tables contain it.

    Raises:
        UsageError: two combinations with the same label have different parameters.
    """
    first: dict[Labels, Item] = {}
    for item in items:
        if first.setdefault(item.labels, item) != item:
            msg = (
                f"{'/'.join(item.labels)} is in two [[run]] tables whose presets set different "
                "parameters; set one of them in brackets, so that their labels differ"
            )
            raise UsageError(msg)
    return list(first.values())


def _are_selected(labels: Labels, choice: Choice) -> list[bool]:
    globs = (choice.datasets, choice.models, choice.methods)
    return [
        not patterns or any(fits(label, pattern) for pattern in patterns)
        for label, patterns in zip(labels, globs, strict=True)
    ]


def fits(label: str, pattern: str) -> bool:
    """Whether a pattern matches a label in a cell's name, with or without parameters.

    The last method of a chain may match alone.

    A bracket in the pattern means a bracket, not a set of characters.
    """
    names = [step.name for step in chain(label)]
    pattern = pattern.replace("[", "[[]")
    return any(fnmatchcase(text, pattern) for text in (label, "+".join(names), names[-1]))


def no_match(pattern: str, kind: str, where: str, labels: Sequence[str]) -> str:
    """Return an error message for a glob that matches no label, with a suggestion if one is near."""
    named = shortened(pattern, LONGEST_NAME)
    bare = {label.partition("[")[0] for label in labels}
    hint = did_you_mean(pattern, {*labels, *bare})
    there_are = f"There are: {enumerated(labels)}"
    return f"'{named}' matches no {kind} {where}.{hint} {there_are}"


def _why_no_cell(
    choice: Choice,
    kept: Sequence[Combination | Misfit],
    items: Sequence[Combination | Misfit],
) -> str:
    """Return why no cell is selected: a glob matches nothing, or no combination can be run."""
    globs = (choice.datasets, choice.models, choice.methods)
    for place, kind in enumerate(("dataset", "model", "method")):
        labels = sorted({item.labels[place] for item in items})
        for glob in globs[place]:
            if not any(fits(label, glob) for label in labels):
                return no_match(glob, kind, "of this suite", labels)
    for item in kept:
        if isinstance(item, Misfit):
            return f"no cell can be run: {'/'.join(item.labels)}: {item.reason}"
    return "no cell matches all of -d, -m and -x; each matches some, but never together"
