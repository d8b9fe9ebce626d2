"""Which stages must run, and which of them share a process. Pure, but for asking the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hepbench.planning.stages import Stage
    from hepbench.storage.stage_cache import StageCache


def missing(
    stages: Mapping[str, Stage], wanted: Iterable[str], cache: StageCache
) -> dict[str, Stage]:
    """Return the stages that must run for the wanted ones to be there, parents first.

    A parent is needed only where a child is missing.
    """
    found: dict[str, Stage] = {}
    present: dict[str, bool] = {}

    def visit(key: str) -> None:
        if key not in present:
            present[key] = cache.find(key) is not None
            if not present[key]:
                for parent in stages[key].parents:
                    visit(parent)
                found[key] = stages[key]

    for key in wanted:
        visit(key)
    return found


def jobs(stages: Mapping[str, Stage]) -> list[list[Stage]]:
    """Group stages that may share a process, so that its start is paid once.

    Preparations of one dataset go together; methods of a chain where nobody else waits for the
    ones before the last. What runs alone is a job of its own.
    """
    children: dict[str, int] = {}
    for stage in stages.values():
        for parent in stage.parents:
            children[parent] = children.get(parent, 0) + 1
    groups: list[list[Stage]] = []
    of: dict[str, list[Stage]] = {}
    for stage in stages.values():
        near = [of[p] for p in stage.parents if p in of and of[p][-1].group == stage.group]
        before = {id(group): group for group in near}
        group = next(iter(before.values())) if len(before) == 1 else None
        alone = stage.exclusive or (group is not None and group[-1].exclusive)
        shared = group is not None and stage.group != "prepare" and children[group[-1].key] > 1
        if group is None or alone or shared:
            group = []
            groups.append(group)
        group.append(stage)
        of[stage.key] = group
    return groups
