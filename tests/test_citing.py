"""``hepbench cite``: references of plugins as BibTeX, each publication once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hepbench.sharing import bibliography

BASELINE = Path(__file__).parents[1] / "results" / "baseline"

BALDI = "Baldi, Sadowski and Whiteson, Nature Communications 5, 4308 (2014), arXiv:1402.4735"


def read(text):
    """The only publication of a reference."""
    (found,) = bibliography.publications([("model m", text)])
    return found


@pytest.mark.parametrize(
    ("text", "authors", "year", "words", "identifier"),
    [
        (BALDI, "Baldi Sadowski Whiteson", "2014", "Nature Communications 5, 4308 (2014)", "arxiv"),
        ("Qu, Li and Qian, ICML 2022, arXiv:2202.03772", "Qu Li Qian", "2022", "ICML 2022", "arxiv"),
        ("Veličković et al., arXiv:1710.10903", "Veličković others", "2017", "", "arxiv"),
        ("tokens as in Xu et al., arXiv:hep-ph/9912345", "Xu others", "1999", "", "arxiv"),
        ("Cox, J. R. Stat. Soc. B 20, 215 (1958)", "Cox", "1958", "J. R. Stat. Soc. B 20, 215 (1958)", ""),
        ("A Machine Repository, https://doi.org/10.24432/C5V312", "", "", "A Machine Repository", "doi"),
        ("Wightman, https://github.com/a/b", "Wightman", "", "", "url"),
    ],
)  # fmt: skip
def test_a_reference_is_read_as_its_words_say(text, authors, year, words, identifier):
    """Nothing is looked up, and nothing is made up."""
    found = read(text)
    assert " ".join(found.authors) == authors
    assert (found.year, found.words) == (year, words)
    known = {name for name in ("arxiv", "doi", "url") if getattr(found, name)}
    assert known == ({identifier} if identifier else set())
    assert found.is_citable


def test_a_publication_is_one_entry_with_everything_it_is_cited_for():
    """Also where one reference lacks the identifier; other papers of a year get a letter."""
    text = bibliography.bibtex(
        bibliography.publications(
            [
                ("published values", "Baldi, Sadowski and Whiteson, Nature 5 (2014) 4308, table 1"),
                ("dataset d", f"{BALDI}; notes of a group"),
                ("model m", "Baldi et al., arXiv:1402.9999"),
            ]
        )
    )
    assert text.count("@misc") == 2
    assert "% published values, dataset d\n@misc{Baldi2014,\n" in text
    assert "eprint = {1402.4735}" in text
    assert "@misc{Baldi2014a," in text
    assert text.endswith("% dataset d: no publication: notes of a group\n")


def test_a_source_without_a_publication_is_named_once():
    """With everything that it is cited for."""
    cited = [
        ("model m", "write-up 003"),
        ("published values", "write-up 003"),
        ("dataset d", "notes"),
    ]
    text = bibliography.bibtex(bibliography.publications(cited))
    assert text.splitlines() == [
        "% model m, published values: no publication: write-up 003",
        "% dataset d: no publication: notes",
    ]


def test_a_hostile_reference_stays_in_its_field():
    """Braces, line ends and commands of LaTeX."""
    found = read("Evil, } \\input{x}\n} @misc{y, 50 % of #1 & ~^_ (2020), https://a.b/}{c")
    text = bibliography.bibtex([found])
    assert text.count("@misc") == 2  # one of them is text
    assert text.count("{") == text.count("}")
    assert "\\input" not in text
    assert len(text.splitlines()) == 7


def test_results_are_cited(bench):
    """Datasets, models and published values of packed results; globs choose some."""
    done = bench("cite", str(BASELINE / "standard.zip"))
    assert done.code == 0, done.err
    keys = re.findall(r"@misc\{(\w+),", done.out)
    assert len(keys) == len(set(keys)) > 8
    assert "% dataset higgs, model mlp, published values of higgs/" in done.out
    done = bench("cite", str(BASELINE / "standard.zip"), "-d", "top-tagging", "-m", "logistic")
    assert "Kasieczka" in done.out
    assert "Baldi" not in done.out
