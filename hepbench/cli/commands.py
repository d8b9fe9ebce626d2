"""Define the commands and options of hepbench, one function for each verb, without logic."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hepbench._version import __version__
from hepbench.cli import streams

if TYPE_CHECKING:
    from collections.abc import Callable


FORMATS = ("plain", "github", "latex", "csv", "json", "html")


COMPARISON_FORMATS = ("plain", "github", "json", "html")


RESULTS = Path("results")


SOURCES = ("auto", "file", "sample")


PATH = click.Path(path_type=Path)


class WholeSentences(click.Command):
    """A command that lists of commands show with its whole first sentence."""

    def get_short_help_str(self, limit: int = 45) -> str:  # noqa: ARG002
        """Return the first paragraph of the help; lists wrap it."""
        return " ".join((self.help or "").partition("\n\n")[0].split())


class Verb(WholeSentences):
    """A verb of the command line, which prints nothing but its result to stdout."""

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        """Parse the arguments, and write help if they ask for it."""
        with streams.written_stdout():
            return super().make_context(*arguments, **more)
        # whoever asked for help has read enough of it
        raise click.exceptions.Exit(0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb with stdout reserved for its result."""
        with streams.reserved_stdout():
            return super().invoke(ctx)


class Verbs(WholeSentences, click.Group):
    """A group of verbs of the command line, such as ``hepbench data``."""

    command_class = Verb
    group_class = type

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        """Parse the arguments before the verb, and write help if they ask for it."""
        with streams.written_stdout():
            return super().make_context(*arguments, **more)
        # whoever asked for help has read enough of it
        raise click.exceptions.Exit(0)


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="hepbench")
def cli() -> None:
    """Benchmarks for machine learning in high-energy physics, with numbers you can defend."""


def chosen(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select cells by globs."""
    glob = functools.partial(click.option, multiple=True, metavar="GLOB")
    options = [
        glob("-d", "--dataset", "datasets", help="Only these datasets."),
        glob("-m", "--model", "models", help="Only these models."),
        glob("-x", "--method", "methods", help="Only these methods or chains."),
    ]
    return functools.reduce(lambda f, option: option(f), reversed(options), function)


def sized(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for the printed size and the captions of figures."""
    options = [
        click.option(
            "--size",
            type=click.Choice(["column", "full"]),
            help="Width: one column of a journal (3.4 in) or both (7 in).  [what suits the figure]",
        ),
        click.option(
            "--caption",
            type=PATH,
            metavar="FILE",
            help="Write the captions too, as FILE.tex and FILE.txt.",
        ),
    ]
    return functools.reduce(lambda f, option: option(f), reversed(options), function)


def planned(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a plan; the verb receives them as ``choice`` and ``local``."""
    override = "Override dataset.*, model.* or <method>.*"
    folder = "Folder of original files, DIR/<dataset>/<file>.  [HEPBENCH_DATA]"
    source = "Read original files if found, always files, or always samples."
    device = "cpu, auto, cuda, cuda:N or mps."
    options = [
        click.option("--seeds", type=int, metavar="N", help="Run seeds 0 to N-1."),
        click.option("--preset", help="Preset: quick, paper, or another of a plugin."),
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help=override),
        click.option("--data", type=PATH, metavar="DIR", help=folder),
        click.option("--source", type=click.Choice(SOURCES), default="auto", help=source),
        click.option("--threads", type=int, default=1, help="Threads of each worker."),
        click.option("--device", default="cpu", show_default=True, help=device, metavar="NAME"),
    ]

    @functools.wraps(function)
    def verb(**given: Any) -> Any:
        from hepbench.planning.matrix import Choice
        from hepbench.running.session import LocalOptions, check_positive

        check_positive(seeds=given["seeds"], threads=given["threads"])
        names = ("datasets", "models", "methods", "seeds", "preset", "overrides")
        choice = Choice(**{name: given.pop(name) for name in names})
        local = LocalOptions(
            **{name: given.pop(name) for name in ("data", "source", "threads", "device")}
        )
        return function(choice=choice, local=local, **given)

    return chosen(functools.reduce(lambda f, option: option(f), reversed(options), verb))


suite_argument = click.argument("suite", required=False)


run_option = click.option("--run", metavar="NAME", help="Only the records of this run.")


results_option = click.option(
    "--results", type=PATH, default=RESULTS, metavar="DIR", show_default=True
)


def compared(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the arguments and options of a comparison of two results."""
    metrics = "Metrics to compare, the main one first.  [auc, and those of the policy]"
    suite = "Suite whose [gate] holds, and that revisions run.  [suite of NEW]"
    options = [
        click.argument("base", type=PATH),
        click.argument("new", type=PATH),
        click.option("--metrics", metavar="NAME,...", help=metrics),
        click.option("--suite", help=suite),
        click.option("--format", "format_", type=click.Choice(COMPARISON_FORMATS), default="plain"),
    ]
    return functools.reduce(lambda f, option: option(f), reversed(options), function)


results_argument = click.argument("results", type=PATH, default=RESULTS, metavar="[RESULTS]")


@cli.command()
@click.argument("suites", nargs=-1, metavar="[SUITE]...")
@planned
@results_option
@click.option("--name", default="", help="Name of the run, in its records.  [its start]")
@click.option("--jobs", type=int, help="Number of workers.  [cores / threads]")
@click.option("--timeout", type=float, metavar="S", help="Time limit of a stage in seconds.")
@click.option(
    "--memory", type=float, metavar="GB", help="Memory limit of a worker.  [90 % of memory / jobs]"
)
@click.option("--fresh", is_flag=True, help="Ignore the cache and compute everything again.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
def run(**given: Any) -> int:
    """Run suites: names that 'hepbench list suites' shows, or TOML files.

    Several suites run one after another, after all of them have been planned. Without a suite, 'run' runs the suite standard, and 'run -d NAME' every model that fits this
    dataset, with each of its methods.
    """
    from hepbench.cli import verbs

    return verbs.run_all(**given)


@cli.command()
@suite_argument
@planned
@results_option
def plan(**given: Any) -> None:
    """Show what run would do: cells, stages, what is cached, which combinations are left out."""
    from hepbench.cli import verbs

    streams.write_line(verbs.plan(**given))


@cli.command("list")
@click.argument("kind", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(kind: str | None, as_json: bool) -> None:
    """List datasets, models, methods, metrics, suites and plugins."""
    from hepbench.cli import listing

    streams.write_line(listing.listed(kind, as_json=as_json))


@cli.command()
@click.argument("kind")
@click.argument("name")
def show(kind: str, name: str) -> None:
    """Show a dataset, model, method, metric, suite or plugin: parameters, presets, files."""
    from hepbench.cli import description

    streams.write_line(description.shown(kind, name))


@cli.command()
@results_argument
@run_option
@chosen
@click.option("--format", "format_", type=click.Choice(FORMATS), default="plain")
@click.option(
    "--style", default="full", help="paper: LaTeX for an article with two columns of text."
)
@click.option(
    "--group", default="dataset", show_default=True, help="Make one table for each value of this."
)
@click.option("--columns", metavar="NAME,...", help="Columns in this order, or all.")
@click.option(
    "--sort", default="", metavar="NAME", help="Sort rows by this column; -NAME reverses."
)
@click.option(
    "--where",
    multiple=True,
    metavar="CONDITION",
    help="Only rows like 'auc>0.8', 'model=conv-*'.",
)
@click.option("--per-seed", is_flag=True, help="In CSV and JSON, a row for each seed.")
def table(**given: Any) -> None:
    """Show results as a table: each value with its errors, from the test sample and over seeds."""
    from hepbench.cli import tabulating

    streams.write(tabulating.table(**given))


@cli.command()
@click.argument("figure", required=False)
@click.argument("results", type=PATH, required=False)
@run_option
@chosen
@click.option(
    "--all", "everything", is_flag=True, help="Draw all figures into the folder of --output."
)
@sized
@click.option(
    "--group", default="dataset", show_default=True, help="Draw one panel for each value of this."
)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="FILE",
    help="Output file: PNG, PDF or SVG. With --all a folder.  [figures]",
)
@click.option(
    "--reference",
    default="",
    metavar="ROW",
    help="Row that ratios are taken to, by its model or name in the figure.  [the best]",
)
@click.option(
    "--efficiency",
    type=float,
    default=0.5,
    show_default=True,
    help="Signal efficiency of the cut in efficiency and sculpting.",
)
@click.option(
    "--spectator",
    "spectators",
    multiple=True,
    metavar="GLOB",
    help="Only these quantities in efficiency and sculpting.",
)
@click.option(
    "--error",
    default="auc",
    show_default=True,
    metavar="METRIC",
    help="Metric of error-vs-flops and training-size.",
)
@click.option(
    "--against",
    default="flops",
    show_default=True,
    metavar="COST",
    help="Horizontal axis of error-vs-flops: flops, theoretical, latency, parameters, nonzero, "
    "or a metric.",
)
@click.option("--channels", is_flag=True, help="Draw each channel of images, not their sum.")
def plot(**given: Any) -> None:
    """Draw a figure of results, a file for each dataset; or every figure, with --all.

    Figures: roc, significance (improvement), scores (by class), efficiency (against mass, pT),
    sculpting (of the mass), error-vs-flops, training-size, training, overtraining, latents,
    reconstructions.
    """
    from hepbench.cli import verbs

    for line in verbs.plot(**given):
        streams.write_line(line)


@cli.command()
@results_argument
@run_option
@chosen
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="FILE",
    default=Path("report.html"),
    show_default=True,
    help="The HTML file to write.",
)
@click.option(
    "--verify/--no-verify",
    "verify",
    default=None,
    help="Verify the results first.  [if there are at most 1,000 records]",
)
def report(**given: Any) -> None:
    """Write results as one HTML page that needs no network: verdicts, table, figures.

    Each row has its notes, parameters, origin and the command that makes it again.
    """
    from hepbench.cli import reporting

    streams.write_line(reporting.report(**given))


@cli.command()
@results_argument
@run_option
@click.option(
    "--rerun",
    type=click.IntRange(min=1),
    metavar="N",
    help="Also run N cells again, drawn at random.",
)
@click.option("--cell", "cells", multiple=True, metavar="CELL", help="Also run this cell again.")
@click.option(
    "--data", type=PATH, metavar="DIR", help="Folder of original files for --rerun and --cell."
)
def verify(results: Path, run: str | None, **again: Any) -> int:
    """Recompute every metric of every record from its stored predictions.

    Exit 1 if anything differs or is missing. Cells that are run again start from nothing, in a
    cache of their own, and must give the same record bit for bit; a record that does not is marked.
    """
    from hepbench.cli import verbs

    text, code = verbs.verify(results, run)
    streams.write_line(text)
    if again["rerun"] or again["cells"]:
        from hepbench.cli import reruns

        code |= reruns.rerun(results, again["rerun"] or 0, again["cells"], again["data"], run=run)
    return code


@cli.command()
@click.argument("cell")
@click.option(
    "--results",
    type=PATH,
    metavar="RESULTS",
    default=RESULTS,
    show_default=True,
    help="Results folder or packed file that has the cell.",
)
@click.option(
    "-o", "--out", type=PATH, metavar="FILE", required=True, help="The .onnx file to write."
)
def export(cell: str, results: Path, out: Path) -> None:
    """Write the trained model of a cell as an ONNX file, with its preprocessing.

    Its scores of all test examples are compared with the recorded ones first. Without a seed, the
    cell's newest record is meant.
    """
    from hepbench.cli import exporting

    streams.write_line(exporting.export(cell=cell, results=results, out=out))


@cli.command()
@results_argument
@chosen
def cite(**given: Any) -> None:
    """Print BibTeX of the datasets and models of results, and of published values beside them.

    Entries have what the plugins' references name: authors, year, where it was published, arXiv and
    DOI. References without a publication are comments.
    """
    from hepbench.cli import citing

    streams.write(citing.cite(**given))


@cli.command()
@results_argument
@click.option(
    "-o", "--output", type=PATH, metavar="FILE", required=True, help="The zip file to write."
)
@click.option("--parts", metavar="PART,...", help="Keep predictions of these parts only.")
@click.option("--networks", is_flag=True, help="Add trained networks from the cache.")
def pack(**given: Any) -> None:
    """Pack results into one zip file: records, predictions, labels, histories and tables.

    Verbs that take a results folder take this file too. Equal results give equal bytes.
    """
    from hepbench.cli import packing

    streams.write_line(packing.pack(**given))


@cli.command()
@compared
def compare(**given: Any) -> None:
    """Compare two results cell by cell: what is better and worse in NEW than in BASE.

    BASE and NEW are results folders, packed files, or git revisions of the plugin in the current
    folder ('.' is its working tree), which run --suite first. Quality is tested on the same test
    examples with all seeds; costs are compared exactly. A suite's [gate] names tolerances.
    """
    from hepbench.cli import comparisons

    streams.write(comparisons.compare(**given))


@cli.command()
@compared
@click.option(
    "--fail-if",
    "conditions",
    multiple=True,
    metavar="RULE",
    help="A rule in place of [gate]: 'auc loss > 0.005', 'flops increase > 5%', with 'in GLOB'.",
)
def gate(**given: Any) -> int:
    """Compare two results, and fail if NEW is worse than a policy allows.

    BASE and NEW are as in compare. Without rules in --fail-if or the suite's [gate], a significant
    loss of the main metric and more than 1 % more FLOPs fail. Exit 0 passed, 1 worse, 3 nothing could be concluded.
    """
    from hepbench.cli import comparisons

    text, code = comparisons.gate(**given)
    streams.write(text)
    return code


@cli.command()
@click.argument("name")
@click.option("--quick", is_flag=True, help="Skip checks that take more than a few seconds.")
def check(name: str, quick: bool) -> int:
    """Run the conformance tests of a distribution, dataset, model, method or metric."""
    from hepbench.cli import verbs

    return verbs.check(name, quick=quick)


@cli.command()
@click.argument("cell")
@click.option("--suite", help="Suite to compare with.  [suite of the record]")
@planned
@results_option
@run_option
def why(**given: Any) -> None:
    """Show which parts of a cell's key changed since its last record; without a seed, of all seeds."""
    from hepbench.cli import changes

    streams.write_line(changes.why(**given))


@cli.group()
def cache() -> None:
    """Show and clean the cache of finished stages."""


@cache.command("path")
def cache_path() -> None:
    """Print the folder of the cache: HEPBENCH_CACHE, or the usual place of the system."""
    from hepbench.running.session import cache_folder

    streams.write_line(str(cache_folder()))


@cache.command("size")
def cache_size() -> None:
    """Show how large the cache is."""
    from hepbench.cli import cache_verbs

    streams.write_line(cache_verbs.size())


@cache.command("clean")
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(min=0),
    metavar="DAYS",
    help="Only stages that were finished longer ago.",
)
def cache_clean(days: float | None) -> None:
    """Remove finished stages; runs that need them compute them again. Results stay."""
    from hepbench.cli import cache_verbs

    streams.write_line(cache_verbs.clean(days))


@cli.group()
def data() -> None:
    """Find, check, fetch and plot original files of datasets."""


data_option = click.option("--data", "folder", type=PATH, metavar="DIR", help="[HEPBENCH_DATA]")


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@data.command("list")
@data_option
@json_option
def data_list(folder: Path | None, as_json: bool) -> None:
    """List datasets: files found, files missing, and how to get them."""
    from hepbench.cli import catalogue

    streams.write_line(catalogue.listed(folder, as_json=as_json))


@data.command("info")
@click.argument("dataset")
@data_option
@json_option
def data_info(dataset: str, folder: Path | None, as_json: bool) -> None:
    """Show the description of a dataset, and which of its files are found."""
    from hepbench.cli import catalogue

    streams.write_line(catalogue.info(dataset, folder, as_json=as_json))


@data.command("croissant")
@click.argument("dataset")
@data_option
def data_croissant(dataset: str, folder: Path | None) -> None:
    """Print the metadata of a dataset in Croissant, a format of JSON-LD that catalogues read.

    Original files are listed with their checksums: published ones, and those of files that are
    found.
    """
    from hepbench.cli import data_verbs

    streams.write_line(data_verbs.croissant(dataset, folder=folder))


@data.command("check")
@click.argument("dataset", metavar="DATASET[PARAM=VALUE,...]")
@data_option
@click.option(
    "--source", type=click.Choice(SOURCES), default="auto", help="What to read, as in run."
)
@json_option
def data_check(dataset: str, folder: Path | None, source: Any, as_json: bool) -> int:
    """Read and summarise all files of a dataset; exit 1 if there is a warning."""
    from hepbench.cli import data_verbs

    text, code = data_verbs.check(dataset, folder=folder, source=source, as_json=as_json)
    streams.write_line(text)
    return code


@data.command("fetch")
@click.argument("dataset")
@click.option(
    "--data", "folder", type=PATH, metavar="DIR", help="Folder to fetch to.  [HEPBENCH_DATA]"
)
@click.option("--file", "files", multiple=True, metavar="NAME", help="Fetch only these files.")
def data_fetch(dataset: str, folder: Path | None, files: tuple[str, ...]) -> int:
    """Fetch original files into DIR/<dataset>, and resume partial downloads.

    Exit 1 if a file must be fetched with a browser.
    """
    from hepbench.cli import data_verbs

    text, code = data_verbs.fetch(dataset, folder=folder, files=files)
    streams.write_line(text)
    return code


@data.command("plot")
@click.argument("dataset", metavar="DATASET[PARAM=VALUE,...]")
@click.argument("figures", nargs=-1, metavar="[FIGURE]...")
@click.option("--data", type=PATH, metavar="DIR", help="[HEPBENCH_DATA]")
@click.option(
    "--source", type=click.Choice(SOURCES), default="auto", help="What to draw, as in run."
)
@click.option("--compare", is_flag=True, help="Draw the original dataset over the bundled sample.")
@sized
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="FILE",
    help="Output file of a single figure: PNG, PDF or SVG.",
)
def data_plot(**given: Any) -> None:
    """Draw a dataset by class, without its test examples.

    Figures: means, spectra and occupancy (images), features (tables), particles (clouds), views (an
    example as image, cloud and graph). Default: all figures that the dataset has.
    """
    from hepbench.cli import verbs

    streams.write_line(verbs.data_plot(**given))


@data.command()
@click.argument("dataset")
@click.option("--events", type=int, default=1000, show_default=True, help="Number of examples.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--jobs", type=int, help="Number of processes.  [cores]")
@click.option(
    "--out",
    type=PATH,
    metavar="DIR",
    default=Path("data"),
    show_default=True,
    help="Folder to write to, as DIR/<dataset>/<original file>.",
)
def simulate(**given: Any) -> None:
    """Simulate more examples of a dataset, in its original file format."""
    from hepbench.cli import data_verbs

    streams.write_line(data_verbs.simulate(**given))


@cli.command()
@click.option("--data", type=PATH, metavar="DIR", help="[HEPBENCH_DATA]")
def doctor(data: Path | None) -> int:
    """Show versions, machine, plugins, data and cache; exit 1 if there are problems."""
    from hepbench.cli import listing

    text, code = listing.doctor(data)
    streams.write_line(text)
    return code


@cli.group(cls=Verbs)
def new() -> None:
    """Write files for a repository of your own."""


@new.command()
@click.argument("suite")
@click.option(
    "--needs",
    metavar="REQUIREMENTS",
    default="hepbench hepbench-plugins",
    show_default=True,
    help="What pip installs beside your plugin.",
)
@click.option(
    "-o",
    "--out",
    type=PATH,
    default=Path(".github/workflows/hepbench.yml"),
    show_default=True,
    help="File to write.",
)
def ci(suite: str, needs: str, out: Path) -> None:
    """Write a GitHub workflow that compares a pull request with its base branch."""
    from hepbench.cli import new_files

    streams.write_line(new_files.ci(suite, needs=needs, out=out))
