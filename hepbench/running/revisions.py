"""Runs a suite with a git revision of the plugin in the current folder, and installs nothing.

The revision is checked out into a temporary folder, from which a process of its own imports it; of
all else it uses what is installed here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hepbench.registry.plugins import GROUP
from hepbench.running import interrupts
from hepbench.specs import toml
from hepbench.specs.errors import UsageError
from hepbench.specs.text import several
from hepbench.storage import regular_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WORKING_TREE = "."

LAYOUTS = ("src", ".")
"""Folders of a project that its packages may be in."""

LARGEST_PROJECT = 1_000_000
"""Bytes of a ``pyproject.toml``."""

PATHS = ("HEPBENCH_CACHE", "HEPBENCH_DATA")
"""Environment variables with paths, which may be relative to the current folder."""


@dataclass(frozen=True)
class Revision:
    """A revision of the plugin in the current folder.

    Attributes:
        name: as the user gave it.
        commit: its whole hash; "" for the working tree.
        edited: number of files whose changes are not in it, if it is the commit checked out here.
    """

    name: str
    commit: str = ""
    edited: int = 0

    def __str__(self) -> str:
        return f"{self.name} ({self.commit[:12] or 'the working tree'})"

    @property
    def warning(self) -> str:
        """Says that changes are not in the revision; "" if all are."""
        if not self.edited:
            return ""
        count = several(self.edited, "file")
        return f"uncommitted changes of {count} are not in {self.name}; '.' is the working tree"


class Project(NamedTuple):
    """What a plugin's ``pyproject.toml`` says: its name, version, and entry points by group."""

    name: str
    version: str
    points: Mapping[str, Mapping[str, str]]

    @property
    def modules(self) -> list[str]:
        """The top-level modules of its entry points."""
        values = self.points[GROUP].values()
        return sorted({value.partition(":")[0].partition(".")[0] for value in values})


def find(name: str) -> Revision:
    """Return a git revision of the plugin in the current folder, or its working tree.

    Raises:
        UsageError: there is no such revision, no git repository or no plugin here.
    """
    if name == WORKING_TREE:
        _source(Path(), name)
        return Revision(name)
    if shutil.which("git") is None:
        msg = f"{name} is neither a results folder nor a packed file; git is not installed for revisions"
        raise UsageError(msg)
    commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if commit is None:
        where = "a revision of this git repository"
        if _git("rev-parse", "--show-prefix") is None:
            where = "a revision, since this folder is in no git repository"
        msg = f"{name} is neither a results folder, nor a packed file, nor {where}"
        raise UsageError(msg)
    _source(Path(), "the current folder")
    edited = ""
    if commit == _git("rev-parse", "HEAD"):
        edited = _git("status", "--porcelain", "--untracked-files=no", "--", ".") or ""
    return Revision(name, commit, len(edited.splitlines()))


def run(revision: Revision, suite: str, results: Path) -> None:
    """Run a suite with the plugin as it was at a revision; cells that fail are recorded.

    Args:
        revision: see ``find``.
        suite: a suite's name, or the absolute path of its file.
        results: an absolute path.

    Raises:
        UsageError: the revision has no plugin here, or the suite cannot be run with it.
    """
    with _checked_out(revision) as folder, tempfile.TemporaryDirectory() as beside:
        source, project = _source(folder, str(revision))
        _write_metadata(project, Path(beside))
        environment = _environment(source, Path(beside))
        _check_imports(project, source, environment, str(revision))
        command = [sys.executable, "-P", "-m", "hepbench", "run", suite, "--results", str(results)]
        # the name of its folder is the commit of the records
        code = _wait([*command, "--json"], folder, environment)
    # bad input of a cell also gives 2, and such a cell has a record
    if code not in {0, 1} and not (code == 2 and any(results.rglob("*.json"))):
        msg = f"{revision}: suite {suite} could not be run"
        raise UsageError(msg)


@contextmanager
def _checked_out(revision: Revision) -> Iterator[Path]:
    """Yield the current folder as it was at a revision, in a worktree that is removed afterwards."""
    if not revision.commit:
        yield Path.cwd()
        return
    inside = _git("rev-parse", "--show-prefix") or ""
    with tempfile.TemporaryDirectory(prefix="hepbench-revision-") as folder:
        worktree = Path(folder).resolve() / "source"
        # hooks of the repository are for its users
        add = ("-c", "core.hooksPath=/dev/null", "worktree", "add", "--quiet", "--detach")
        try:
            # an interrupted checkout would leave a locked worktree
            with interrupts.held_back():
                added = _git(*add, str(worktree), revision.commit)
            if added is None:
                msg = f"{revision}: git cannot check it out into {worktree}"
                raise UsageError(msg)
            yield worktree / inside
        finally:
            with interrupts.held_back():
                _git("worktree", "remove", "--force", str(worktree))
                _git("worktree", "prune")


def _git(*arguments: str) -> str | None:
    """Return what a git command prints; None if it fails."""
    done = subprocess.run(
        ["git", *arguments],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        # Ctrl-C is for this process, which then removes the worktree
        start_new_session=True,
    )
    return None if done.returncode else done.stdout.strip()


def _source(folder: Path, called: str) -> tuple[Path, Project]:
    """Return the folder that a plugin's modules are imported from, and its project.

    Raises:
        UsageError: the folder holds no plugin, or its modules are elsewhere.
    """
    project = _project(folder, called)
    for layout in LAYOUTS:
        source = folder / layout
        if all(_has_module(source, name) for name in project.modules):
            return source.resolve(), project
    modules = " and ".join(project.modules)
    msg = f"{called}: {modules} must be beside pyproject.toml, or in src, to be run without installing"
    raise UsageError(msg)


def _has_module(folder: Path, name: str) -> bool:
    return (folder / name).is_dir() or (folder / f"{name}.py").is_file()


def _project(folder: Path, called: str) -> Project:
    path = folder / "pyproject.toml"
    try:
        found = toml.loads(regular_files.read(path, most=LARGEST_PROJECT).decode())
    except OSError as error:
        msg = f"{called}: no pyproject.toml is there; compare revisions in the folder of a plugin"
        raise UsageError(msg) from error
    except ValueError as error:
        msg = f"{called}: pyproject.toml: {error}"
        raise UsageError(msg) from error
    match found.get("project"):
        case {"name": str(name), "entry-points": dict(points), **rest} if _are_points(points):
            return Project(name, _version(name, rest), points)
    msg = f"{called}: pyproject.toml has no [project.entry-points.{GROUP}], so it is no plugin"
    raise UsageError(msg)


def _are_points(groups: Mapping[str, Any]) -> bool:
    """Whether these are groups of entry points, with some of hepbench."""
    tables = [group for group in groups.values() if isinstance(group, dict)]
    texts = (isinstance(value, str) for table in tables for value in table.values())
    return len(tables) == len(groups) and all(texts) and bool(groups.get(GROUP))


def _version(name: str, project: Mapping[Any, Any]) -> str:
    """Return the version of a project; one that is computed when it is built is as installed."""
    if "version" in project:
        return str(project["version"])
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "0"


def _write_metadata(project: Project, folder: Path) -> None:
    """Write all that Python needs to find a distribution and its entry points."""
    info = folder / f"{project.name.replace('-', '_')}-{project.version}.dist-info"
    info.mkdir()
    about = f"Metadata-Version: 2.1\nName: {project.name}\nVersion: {project.version}\n"
    (info / "METADATA").write_text(about)
    (info / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
            for group, points in project.points.items()
        )
    )


def _environment(source: Path, beside: Path) -> dict[str, str]:
    """Return the environment of a process in another folder that finds the plugin there first."""
    before = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    paths = [str(path.absolute()) for path in (beside, source, *map(Path, before))]
    absolute = {n: str(Path(os.environ[n]).absolute()) for n in PATHS if os.environ.get(n)}
    return {**os.environ, **absolute, "PYTHONPATH": os.pathsep.join(paths)}


PROBE = """
import importlib.util, sys
found = importlib.util.find_spec(sys.argv[1])
print(found.origin or next(iter(found.submodule_search_locations)) if found else "nowhere")
"""
"""Prints where Python would import a module from."""


def _check_imports(
    project: Project, source: Path, environment: Mapping[str, str], called: str
) -> None:
    """Raise UsageError if a module would be imported from another folder than a revision's."""
    for name in project.modules:
        command = [sys.executable, "-P", "-c", PROBE, name]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if not done.stdout.startswith(str(source)):
            msg = (
                f"{called}: Python imports {name} from {done.stdout.strip()} and not from {source}"
            )
            raise UsageError(msg)


def _wait(command: list[str], folder: Path, environment: Mapping[str, str]) -> int:
    """Run a command to its end, also if a signal ends this process; return its exit code."""
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL
    ) as process:
        try:
            return process.wait()
        except BaseException:
            # it may have received the signal too; leaving the block waits for its end
            process.terminate()
            raise
