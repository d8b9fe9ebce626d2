"""The datasets and suites that come with hepbench: one module, one dataset."""

from __future__ import annotations

from hepbench import Dataset, File, Input, Split, Suite, hookimpl

HIGGS = Dataset(
    name="higgs",
    summary="Higgs bosons against top-quark pairs: 28 features of 11 million simulated collisions",
    classes=("background", "signal"),
    inputs={
        "table": Input(
            shape=(28,),
            names=(
                *("lepton_pT", "lepton_eta", "lepton_phi"),
                *("missing_energy_magnitude", "missing_energy_phi"),
                *("jet_1_pt", "jet_1_eta", "jet_1_phi", "jet_1_b-tag"),
                *("jet_2_pt", "jet_2_eta", "jet_2_phi", "jet_2_b-tag"),
                *("jet_3_pt", "jet_3_eta", "jet_3_phi", "jet_3_b-tag"),
                *("jet_4_pt", "jet_4_eta", "jet_4_phi", "jet_4_b-tag"),
                *("m_jj", "m_jjj", "m_lv", "m_jlv", "m_bb", "m_wbb", "m_wwbb"),
            ),
        )
    },
    read="hepbench_datasets.higgs:read",
    sample="hepbench_datasets.higgs:sample",
    sample_files=("hepbench_datasets:samples/higgs.npz",),
    views={"table": "hepbench_datasets.higgs:select"},
    files=(
        File(
            name="HIGGS.csv.gz",
            variants=("HIGGS.csv",),
            bytes=2_816_407_858,
            sha256="ea302c18164d4e3d916a1e2e83a9a8d07069fa6ebc7771e4c0540d54e593b698",
            address="https://archive.ics.uci.edu/ml/machine-learning-databases/00280/HIGGS.csv.gz",
        ),
    ),
    split=Split(official="hepbench_datasets.higgs:official"),
    params={"features": 28},
    citation="Baldi, Sadowski and Whiteson, Nature Communications 5, 4308 (2014), arXiv:1402.4735; "
    "UCI Machine Learning Repository, doi:10.24432/C5V312",
    licence="CC BY 4.0",
    generate="hepbench_datasets.simulate.higgs:generate",
)


@hookimpl
def hepbench_datasets() -> list[Dataset]:
    """Return HIGGS."""
    return [HIGGS]


@hookimpl
def hepbench_suites() -> list[Suite]:
    """Return the suites in ``suites/``."""
    return [
        Suite(name=name, path=f"hepbench_datasets:suites/{name}.toml")
        for name in (
            *("smoke", "quickstart", "standard"),
            *("higgs-transformer", "jet-vae", "sparse-ae", "pruning"),
        )
    ]
