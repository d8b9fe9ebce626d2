"""The datasets and suites that come with hepbench, each dataset in its own module."""

from __future__ import annotations

from hepbench import (
    Dataset,
    File,
    Input,
    Original,
    Param,
    Range,
    Sample,
    Split,
    Suite,
    View,
    hookimpl,
)

CLOUD = {"points": Param(256, Range(least=1)), "k": Param(16, Range(least=1))}
"""The parameters of the views that make pixel clouds and their graphs."""


def _clouds(module: str, *params: str, names: str, units: str) -> dict[str, View]:
    """Return a dataset's views that make pixel clouds, their graphs and momenta.

    Args:
        params: names of the parameters of the image that the pixels are taken from.
        names, units: names of a tuple or a function in ``module``.
    """
    place, of_cloud = f"hepbench_datasets.{module}", frozenset({*params, "points"})
    return {
        "cloud": View(
            f"{place}:cloud", params=of_cloud, names=f"{place}:{names}", units=f"{place}:{units}"
        ),
        "mask": View(f"{place}:cloud", params=of_cloud),
        "neighbours": View(f"{place}:graph", params=of_cloud | {"k"}),
        "momenta": _momenta(module.removesuffix("_clouds"), *of_cloud),
    }


def _momenta(dataset: str, *params: str) -> View:
    """Return a dataset's view that makes four-momenta of particles or pixels."""
    place = "hepbench_datasets.momenta"
    return View(
        f"{place}:{dataset}",
        params=frozenset(params),
        names=f"{place}:NAMES",
        units=f"{place}:UNITS",
    )


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
            # read off the rows: momenta, tags and masses are divided by their mean, angles by
            # their standard deviation
            units=(
                *("its mean", "its st. dev.", "its st. dev."),
                *("its mean", "its st. dev."),
                *(("its mean", "its st. dev.", "its st. dev.", "its mean") * 4),
                *(("its mean",) * 7),
            ),
        )
    },
    original=Original(
        "hepbench_datasets.higgs:read",
        files=(
            File(
                name="HIGGS.csv.gz",
                variants=("HIGGS.csv", "HIGGS.csv.xz", "HIGGS.csv.bz2", "HIGGS.csv.zst"),
                bytes=2_816_407_858,
                sha256="ea302c18164d4e3d916a1e2e83a9a8d07069fa6ebc7771e4c0540d54e593b698",
                url="https://archive.ics.uci.edu/ml/machine-learning-databases/00280/HIGGS.csv.gz",
                address="https://doi.org/10.24432/C5V312",
            ),
        ),
        # measured in 10,977 rows of the file; a b-tag has one of three values
        known={
            "fraction.signal": (0.5, 0.56),
            "table.lepton_pT.mean": (0.95, 1.05),
            "table.lepton_pT.min": (0.25, 0.3),
            "table.lepton_eta.max": (2.3, 2.45),
            "table.lepton_phi.max": (1.7, 1.75),
            "table.jet_1_b-tag.max": (2.17, 2.18),
            "table.jet_2_b-tag.max": (2.21, 2.22),
            "table.jet_3_b-tag.max": (2.54, 2.55),
            "table.jet_4_b-tag.max": (3.1, 3.11),
            "table.m_bb.mean.background": (1.0, 1.15),
            "table.m_bb.mean.signal": (0.85, 0.95),
        },
        citation="Baldi, Sadowski and Whiteson, Nature Communications 5, 4308 (2014), arXiv:1402.4735; "
        "UCI Machine Learning Repository, doi:10.24432/C5V312",
        licence="CC BY 4.0",
    ),
    sample=Sample(
        "hepbench_datasets.higgs:sample",
        files=("hepbench_datasets:samples/higgs.npz",),
        examples=20_000,
    ),
    views={
        "table": View(
            "hepbench_datasets.higgs:select",
            params=frozenset({"features"}),
            names="hepbench_datasets.higgs:names",
            units="hepbench_datasets.higgs:units",
        )
    },
    params={
        "features": Param(28, (7, 21, 28)),
        "split": Param("official", ("official", "write-up")),
    },
    split=Split(official="hepbench_datasets.higgs:official", params=frozenset({"split"})),
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
            # no units: the units of the original files are not documented
            sparse=True,
        )
    },
    original=Original(
        "hepbench_datasets.boosted_jets:read",
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
        known={"fraction.top": (0.45, 0.55), "spectator.m.mean": (130, 155)},
        citation="CMS Open Data; channels as in Andrews et al., Phys. Rev. D 105, 052008 (2022), "
        "arXiv:2104.14659; files also at https://cernbox.cern.ch/s/e3pqxcIznqdYyRv",
        licence="published for research, without a licence",
    ),
    sample=Sample(
        "hepbench_datasets.boosted_jets:sample",
        files=("hepbench_datasets:samples/boosted-jets.npz",),
        examples=8000,
    ),
    views={
        "image": View("hepbench_datasets.boosted_jets_views:resize", params=frozenset({"size"})),
        "table": View(
            "hepbench_datasets.boosted_jets_views:summarise",
            names="hepbench_datasets.boosted_jets_views:FEATURES",
        ),
        **_clouds("boosted_jets_clouds", "size", names="FEATURES", units="UNITS"),
    },
    spectators={"m": "GeV", "pT": "GeV"},
    read_params=frozenset({"order"}),
    params={
        "size": Param(125, (64, 125, 128)),
        "order": [
            *("track_pt", "track_d0", "track_dz", "ecal", "hcal"),
            *("pixel_1", "pixel_2", "pixel_3"),
        ],
        **CLOUD,
    },
    augmentations={
        "flips": "hepbench_datasets.boosted_jets_views:flips",
        "transpose": "hepbench_datasets.boosted_jets_views:transpose",
    },
    generate="hepbench_datasets.simulate.boosted_jets:generate",
)

TOP_TAGGING = Dataset(
    name="top-tagging",
    summary="Boosted top quarks against light quarks and gluons: up to 200 particles of 2 million jets",
    classes=("qcd", "top"),
    inputs={
        "cloud": Input(
            shape=(200, 4),
            names=("part_px", "part_py", "part_pz", "part_energy"),
            units=("GeV", "GeV", "GeV", "GeV"),
        ),
        "mask": Input(shape=(200,)),
    },
    original=Original(
        "hepbench_datasets.top_tagging:read",
        files=(
            *(
                File(
                    name=name,
                    form="table",
                    role="test" if name == "test.h5" else "labelled",
                    optional=name == "val.h5",
                    url=f"https://zenodo.org/records/2603256/files/{name}?download=1",
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
            "fraction.top": (0.45, 0.55),
            "cloud.part_energy.min": (0, 0.5),
            "cloud.part_energy.max": (500, 3000),
            "spectator.pt.min": (549, 552),
            "spectator.pt.max": (648, 651),
            "spectator.mass.mean.qcd": (88, 102),
            "spectator.mass.mean.top": (173, 181),
            "mask.particles.mean.qcd": (41, 46),
            "mask.particles.mean.top": (52, 57),
        },
        citation="Kasieczka, Plehn, Thompson and Russell, Top Quark Tagging Reference Dataset, "
        "doi:10.5281/zenodo.2603256; Kasieczka et al., SciPost Phys. 7, 014 (2019), arXiv:1902.09914",
        licence="CC BY 4.0",
    ),
    sample=Sample(
        "hepbench_datasets.top_tagging:sample",
        files=("hepbench_datasets:samples/top-tagging.npz",),
        examples=5000,
    ),
    views={
        "cloud": View(
            "hepbench_datasets.top_tagging_views:transform",
            params=frozenset({"particles", "features"}),
            names="hepbench_datasets.top_tagging_views:names",
            units="hepbench_datasets.top_tagging_views:units",
        ),
        "mask": View(
            "hepbench_datasets.top_tagging_views:transform",
            params=frozenset({"particles", "features"}),
        ),
        "neighbours": View(
            "hepbench_datasets.top_tagging_views:graph", params=frozenset({"particles", "k"})
        ),
        "momenta": _momenta("top_tagging", "particles"),
        "table": View(
            "hepbench_datasets.top_tagging_views:summarise",
            names="hepbench_datasets.top_tagging_views:FEATURES",
            units="hepbench_datasets.top_tagging_views:UNITS",
        ),
    },
    spectators={"mass": "GeV", "pt": "GeV"},
    params={
        "particles": Param(200, Range(least=1, most=200)),
        "features": Param("momenta", ("momenta", "kinematic")),
        "k": CLOUD["k"],
    },
    augmentations={
        "rotations": "hepbench_datasets.top_tagging_views:rotations",
        "flips": "hepbench_datasets.top_tagging_views:flips",
    },
    generate="hepbench_datasets.simulate.top_tagging:generate",
)


QUARK_GLUON = Dataset(
    name="quark-gluon",
    summary="Jets of light quarks against jets of gluons: images of tracks, ECAL and HCAL",
    classes=("gluon", "quark"),
    inputs={
        "image": Input(
            shape=(3, 125, 125),
            names=("track_pt", "ecal", "hcal"),
            # units as the authors' converter writes them, see simulate/quark_gluon.py
            units=("GeV", "GeV", "GeV"),
            sparse=True,
        ),
        "scalars": Input(shape=(2,), names=("m0", "pt"), units=("GeV", "GeV")),
    },
    original=Original(
        "hepbench_datasets.quark_gluon:read",
        files=(
            File(
                name="quark-gluon_data-set_n139306.hdf5",
                address="https://cernbox.cern.ch/index.php/s/hqz8zE7oxyPjvsL",
            ),
            *(
                File(
                    name=f"QCDToGGQQ_IMGjet_RH1all_jet0_run{run}_n{jets}.test.snappy.parquet",
                    form="parquet",
                    optional=True,
                    address="https://cernbox.cern.ch/s/oolDBdQegsITFcv",
                )
                for run, jets in enumerate((36272, 47540, 55494))
            ),
        ),
        known={
            "fraction.quark": (0.49, 0.51),
            "scalars.pt.min": (70, 100),
            "scalars.pt.max": (150, 340),
            "image.track_pt.max": (50, 1000),
            # of a crystal, or of 1/25 of a tower: from the energy of a soft jet to that of a hard jet
            "image.ecal.max": (1, 1000),
            "image.hcal.max": (0.01, 40),
        },
        citation="Andrews et al., Nucl. Instrum. Methods A 977, 164304 (2020), arXiv:1902.08276, of CMS "
        "Open Data; the files are its test set",
        licence="published for research, without a licence",
    ),
    sample=Sample(
        "hepbench_datasets.quark_gluon:sample",
        files=("hepbench_datasets:samples/quark-gluon.npz",),
        examples=4000,
    ),
    views={
        "image": View(
            "hepbench_datasets.quark_gluon_views:prepare",
            params=frozenset({"size", "scale"}),
            units="hepbench_datasets.quark_gluon_views:units",
        ),
        "table": View(
            "hepbench_datasets.quark_gluon_views:summarise",
            names="hepbench_datasets.quark_gluon_views:FEATURES",
        ),
        **_clouds("quark_gluon_clouds", "size", "scale", names="FEATURES", units="units"),
    },
    spectators={"m0": "GeV", "pt": "GeV"},
    params={
        "size": Param(125, (64, 125, 128)),
        "scale": Param("authors", ("authors", "stored")),
        **CLOUD,
    },
    # transpose is not a symmetry of the detector, because its field bends tracks in phi only, but the
    # energy flow of a jet is nearly symmetric
    augmentations={
        "flips": "hepbench_datasets.symmetries:flips",
        "transpose": "hepbench_datasets.symmetries:transpose",
    },
    generate="hepbench_datasets.simulate.quark_gluon:generate",
)

ELECTRON_PHOTON = Dataset(
    name="electron-photon",
    summary="Electrons against photons: images of energy and time in a crystal calorimeter",
    classes=("photon", "electron"),
    inputs={
        "image": Input(
            shape=(2, 32, 32), names=("energy", "time"), units=("50 GeV", "50 ns"), sparse=True
        )
    },
    original=Original(
        "hepbench_datasets.electron_photon:read",
        files=(
            File(
                name="SingleElectronPt50_IMGCROPS_n249k_RHv1.hdf5",
                bytes=87_010_508,
                address="https://cernbox.cern.ch/index.php/s/FbXw3V4XNyYB3oA",
            ),
            File(
                name="SinglePhotonPt50_IMGCROPS_n249k_RHv1.hdf5",
                bytes=79_876_391,
                address="https://cernbox.cern.ch/index.php/s/AtBT8y4MiQYFcgc",
            ),
            File(
                name="electron-photon.npz",
                form="npz",
                lacks="holds energies alone: the channel 'time' of its images is empty",
            ),
        ),
        known={
            "fraction.electron": (0.45, 0.55),
            # a few hundred photons of 249,000
            "image.empty": (0, 0.002),
            "image.empty.electron": (0, 0),
            "image.empty.photon": (0, 0.004),
            "image.energy.mean": (0.00118, 0.00126),
            "image.energy.min": (0, 0),
            "image.energy.max.electron": (1.0, 1.5),
            "image.energy.max.photon": (1.0, 1.5),
            "image.energy.nonzero": (0.04, 0.055),
            "image.time.min": (-2.52, 0),
            "image.time.max": (0, 2.52),
        },
        citation="simulation of CMS; images as in Andrews et al., Comput. Softw. Big Sci. 4, 6 (2020), "
        "arXiv:1807.11916",
        licence="published for research, without a licence",
    ),
    sample=Sample(
        "hepbench_datasets.electron_photon:sample",
        files=("hepbench_datasets:samples/electron-photon.npz",),
        examples=20_000,
    ),
    views={
        "image": View(
            "hepbench_datasets.electron_photon_views:select",
            params=frozenset({"channels"}),
            names="hepbench_datasets.electron_photon_views:names",
            units="hepbench_datasets.electron_photon_views:units",
        ),
        "table": View(
            "hepbench_datasets.electron_photon_views:summarise",
            names="hepbench_datasets.electron_photon_views:FEATURES",
            units="hepbench_datasets.electron_photon_views:UNITS",
        ),
        **_clouds("electron_photon_clouds", names="FEATURES", units="UNITS"),
    },
    params={
        "channels": Param(["energy", "time"], ("energy", "time")),
        "points": Param(64, Range(least=1)),
        "k": CLOUD["k"],
    },
    # flips are nearly symmetries: the charge, the ends of the barrel and the hottest crystal (row and
    # column 16 of 0 to 31, then 15) break them a little; the field spreads showers along phi only, so
    # there is no transpose
    augmentations={"flips": "hepbench_datasets.symmetries:flips"},
    generate="hepbench_datasets.simulate.electron_photon:generate",
)


@hookimpl
def hepbench_datasets() -> list[Dataset]:
    """Return the specs of the datasets that come with hepbench."""
    return [HIGGS, BOOSTED_JETS, TOP_TAGGING, QUARK_GLUON, ELECTRON_PHOTON]


@hookimpl
def hepbench_suites() -> list[Suite]:
    """Return the suites in ``suites/``."""
    return [
        Suite(name=name, path=f"hepbench_datasets:suites/{name}.toml")
        for name in (
            *("smoke", "quickstart", "standard"),
            *("higgs-transformer", "jet-vae", "sparse-ae", "pruning"),
            *("electron-photon", "quark-gluon-vae", "quark-gluon-gnn", "jet-mae"),
            *("top-tagging", "ladder", "training-sizes"),
        )
    ]
