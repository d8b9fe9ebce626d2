"""Choose the stages that must run, and group those that share a worker process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hepbench.planning.stages import Stage


def missing(
    stages: Mapping[str, Stage], wanted: Iterable[str], is_cached: Callable[[str], object]
) -> dict[str, Stage]:
    """Return the wanted stages that are not cached, and the parents that they need, parents first.

    A parent is needed only if a child is missing.

    Args:
        is_cached: takes a key; called only for stages that will be read or run.
    """
    found: dict[str, Stage] = {}
    cached: dict[str, bool] = {}

    def visit(key: str) -> None:
        if key not in cached:
            cached[key] = bool(is_cached(key))
            if not cached[key]:
                for parent in stages[key].parents:
                    visit(parent)
                found[key] = stages[key]

    for key in wanted:
        visit(key)
    return found


def jobs(stages: Mapping[str, Stage]) -> list[list[Stage]]:
    """Group stages into jobs; the stages of a job share one worker process, which saves time.

    The stages that prepare a dataset form one job, and so do the methods of a chain if no other
    stage depends on a method before the last. An exclusive stage is a job of its own.
    """
    children: dict[str, int] = {}
    for stage in stages.values():
        for parent in stage.parents:
            children[parent] = children.get(parent, 0) + 1
    groups: list[list[Stage]] = []
    job_of: dict[str, list[Stage]] = {}
    for stage in stages.values():
        parents = [job_of[p] for p in stage.parents if p in job_of]
        before = {id(job): job for job in parents if job[-1].group == stage.group}
        group = next(iter(before.values())) if len(before) == 1 else None
        alone = stage.exclusive or (group is not None and group[-1].exclusive)
        shared = group is not None and stage.group != "prepare" and children[group[-1].key] > 1
        if group is None or alone or shared:
            group = []
            groups.append(group)
        group.append(stage)
        job_of[stage.key] = group
    return groups
