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

BOOSTED_JETS = Dataset(
    name="boosted-jets",
    summary="Boosted top quarks against light quarks and gluons: images of 8 detector layers",
    classes=("qcd", "top"),
    inputs={
        "image": Input(
            shape=(8, 125, 125),
            names=(
                *("track_pt", "track_d0", "track_dz", "ecal", "hcal"),
                *("pixel_1", "pixel_2", "pixel_3"),
            ),
            sparse=True,
        )
    },
    read="hepbench_datasets.boosted_jets:read",
    sample="hepbench_datasets.boosted_jets:sample",
    sample_files=("hepbench_datasets:samples/boosted-jets.npz",),
    reads=frozenset({"order"}),
    views={
        "image": "hepbench_datasets.boosted_jets_views:resize",
        "table": "hepbench_datasets.boosted_jets_views:summarise",
    },
    files=(
        File(
            name="Dataset_Specific_labelled.h5",
            variants=("Dataset_Specific_labelled_full_only_for_2i.h5",),
            address="https://portal.nersc.gov/cfs/m4392/G25/",
        ),
        File(
            name="Dataset_Specific_Unlabelled.h5",
            role="unlabelled",
            address="https://portal.nersc.gov/cfs/m4392/G25/",
        ),
    ),
    params={
        "size": 125,
        "order": [
            *("track_pt", "track_d0", "track_dz", "ecal", "hcal"),
            *("pixel_1", "pixel_2", "pixel_3"),
        ],
    },
    augmentations={
        "flips": "hepbench_datasets.boosted_jets_views:flips",
        "transpose": "hepbench_datasets.boosted_jets_views:transpose",
    },
    citation="CMS Open Data; channels as in Andrews et al., Phys. Rev. D 105, 052008 (2022), "
    "arXiv:2104.14659; files also at https://cernbox.cern.ch/s/e3pqxcIznqdYyRv",
    licence="published for research, without a licence",
    generate="hepbench_datasets.simulate.boosted_jets:generate",
)

TOP_TAGGING = Dataset(
    name="top-tagging",
    summary="Boosted top quarks against light quarks and gluons: up to 200 particles of 2 million jets",
    classes=("qcd", "top"),
    inputs={
        "cloud": Input(shape=(200, 4), names=("part_px", "part_py", "part_pz", "part_energy")),
        "mask": Input(shape=(200,)),
    },
    read="hepbench_datasets.top_tagging:read",
    sample="hepbench_datasets.top_tagging:sample",
    sample_files=("hepbench_datasets:samples/top-tagging.npz",),
    views={
        "cloud": "hepbench_datasets.top_tagging_views:transform",
        "mask": "hepbench_datasets.top_tagging_views:transform",
        "table": "hepbench_datasets.top_tagging_views:summarise",
    },
    files=(
        *(
            File(
                name=name,
                form="table",
                role="test" if name == "test.h5" else "labelled",
                optional=name == "val.h5",
                address="https://zenodo.org/records/2603256",
            )
            for name in ("train.h5", "val.h5", "test.h5")
        ),
        *(
            File(name=name, form="arrays")
            for name in ("tl_pf_vectors.npy", "tl_pf_mask.npy", "tl_labels.npy")
        ),
    ),
    known={
        "share.top": (0.45, 0.55),
        "cloud.part_energy.min": (0.0, 1.0),
        "cloud.part_energy.max": (500.0, 3000.0),
    },
    params={"particles": 200, "features": "momenta"},
    augmentations={
        "rotations": "hepbench_datasets.top_tagging_views:rotations",
        "flips": "hepbench_datasets.top_tagging_views:flips",
    },
    citation="Kasieczka, Plehn, Thompson and Russell, Top Quark Tagging Reference Dataset, "
    "doi:10.5281/zenodo.2603256; Kasieczka et al., SciPost Phys. 7, 014 (2019), arXiv:1902.09914",
    licence="CC BY 4.0",
    generate="hepbench_datasets.simulate.top_tagging:generate",
)


@hookimpl
def hepbench_datasets() -> list[Dataset]:
    """Return HIGGS, the boosted jets and the jets of top tagging."""
    return [HIGGS, BOOSTED_JETS, TOP_TAGGING]


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
