"""The spec of a suite: a TOML file that a plugin ships."""

from __future__ import annotations

from dataclasses import dataclass

from hepbench.specs.parameters import check_name


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A suite that a plugin ships; its file is read only when the suite is used.

    Attributes:
        name: the name for ``hepbench run``.
        path: ``"package:folder/name.toml"``.
    """

    name: str
    path: str

    def __post_init__(self) -> None:
        check_name("suite", self.name)
