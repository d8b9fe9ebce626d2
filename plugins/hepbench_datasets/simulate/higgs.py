"""HIGGS anew: Higgs bosons (signal) and top-quark pairs (background), generated from nothing.

Signal: gg -> H0 (425) -> W H+- (325) -> W W h0 (125) -> W W b b. Background: t t -> W W b b. One W
goes to an electron or muon, the other to quarks; protons at 8 TeV.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench_datasets.simulate import detector, higgs_features
from hepbench_datasets.simulate.detector import Jets, Particles, wrap

if TYPE_CHECKING:
    from hepbench import Array

ENERGY = 8000.0
SIGNAL = (
    "HiggsBSM:gg2H2 = on",
    "Higgs:useBSM = on",
    "HiggsH2:coup2HchgW = 1.",
    *("35:m0 = 425.", "35:mWidth = 5.", "35:mMin = 350.", "35:doForceWidth = on"),
    *("37:m0 = 325.", "37:mWidth = 2.", "37:mMin = 250.", "37:doForceWidth = on"),
    "25:m0 = 125.",
    *("35:onMode = off", "35:onIfMatch = 24 37"),
    *("37:onMode = off", "37:onIfMatch = 24 25"),
    *("25:onMode = off", "25:onIfMatch = 5 -5"),
)
BACKGROUND = ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on")
W_DECAYS = (
    ("24:onMode = off", "24:onNegIfAny = 11 13", "24:onPosIfAny = 1 2 3 4 5"),
    ("24:onMode = off", "24:onPosIfAny = 11 13", "24:onNegIfAny = 1 2 3 4 5"),
)

LEPTON_PT, LEPTON_ETA = 15.0, 2.5
ISOLATION_RADIUS, ISOLATION = 0.4, 0.2
JET_RADIUS, JET_PT, JET_ETA = 0.5, 15.0, 3.0
TAG_ETA = 1.75

CHUNK_ROWS = 200
CHUNK_SIGNAL = 106
BATCH = 100


TUNE = dict(
    mpi=True,
    radius=0.5,
    jes=1.0,
    jres=0.0,
    orders=0.3,
    extra=(),
    pf=True,
    metres=0.0,
    c_eff=0.15,
    l_eff=0.01,
)


def simulate_class(label, rows, seed, chunk):
    T = TUNE
    settings = (
        (SIGNAL if label else BACKGROUND)
        + W_DECAYS[chunk % 2]
        + tuple(T["extra"])
        + (() if T["mpi"] else ("PartonLevel:MPI = off",))
    )
    a, b = np.random.SeedSequence([seed, chunk, label]).generate_state(2)
    pythia = detector.start_pythia(settings, seed=int(a), energy=ENERGY)
    if label and T.get("pol"):
        import pythia8mc

        class Hook(pythia8mc.UserHooks):
            def __init__(self):
                super().__init__()
                self.rng = np.random.default_rng(int(b) + 1)
                self.n = 0

            def canVetoProcessLevel(self):
                return True

            def doVetoProcessLevel(self, ev):
                self.n += 1
                w = 1.0
                for i in range(ev.size()):
                    p = ev[i]
                    if abs(p.id()) == 24 and p.daughter1() > 0 and abs(ev[p.daughter1()].id()) < 20:
                        m = ev[p.mother1()]
                        d = ev[p.daughter1()]
                        wm = p.p() * m.p()
                        wd = p.p() * d.p()
                        md = m.p() * d.p()
                        M2 = p.m2Calc()
                        # cos theta* from invariants (massless d):
                        E = wd / p.m()
                        pm = np.sqrt(max((wm / p.m()) ** 2 - m.m2Calc(), 1e-9))
                        c = (wm / p.m() * E - md) / (E * pm)
                        w *= max(0, 1 - c * c)
                return bool(self.rng.random() > w)

        hook = Hook()
        pythia = detector.start_pythia(settings, seed=int(a), energy=ENERGY, hook=hook)
    rng = np.random.default_rng(int(b))
    made = []
    n = 0
    gen = 0
    while n < rows:
        made.append(select(*detector.collide(pythia, BATCH), rng))
        n += len(made[-1])
        gen += BATCH
    return np.concatenate(made)[:rows], gen


def select(visible, hadrons, rng):
    T = TUNE
    parts, tracked = detector.candidates(visible, rng)
    lep = isolated(parts, tracked)
    ev = parts.event[lep]
    x = np.bincount(parts.event, parts.pt * np.cos(parts.phi), BATCH)
    y = np.bincount(parts.event, parts.pt * np.sin(parts.phi), BATCH)
    single = np.flatnonzero(np.bincount(ev, minlength=BATCH) == 1)
    rest = np.ones(len(parts.pt), bool)
    rest[lep] = False
    jets = detector.cluster(parts.select(rest), events=BATCH, radius=T["radius"], pt=8.0)
    pt = jets.pt * T["jes"] * np.maximum(1 + T["jres"] * rng.standard_normal(jets.pt.shape), 0.1)
    good = (pt > JET_PT) & (np.abs(jets.eta) < JET_ETA)
    x = x + np.sum(np.where(good, (pt - jets.pt) * np.cos(jets.phi), 0), 1)
    y = y + np.sum(np.where(good, (pt - jets.pt) * np.sin(jets.phi), 0), 1)
    x += T["metres"] * rng.standard_normal(BATCH)
    y += T["metres"] * rng.standard_normal(BATCH)
    tags = tag(jets.eta, jets.phi, pt, good, hadrons, rng)
    key = np.where(
        good, np.log(np.maximum(pt, 1e-9)) + T["orders"] * rng.standard_normal(pt.shape), -np.inf
    )
    order = np.argsort(-key, 1)
    J = np.stack([np.where(good, pt, 0), jets.eta, jets.phi], -1)
    J = np.take_along_axis(J, order[..., None], 1)
    tags = np.take_along_axis(tags, order, 1)
    e = np.argsort(ev, kind="stable")
    where = np.full(BATCH, -1)
    where[ev] = lep
    keep = (np.bincount(ev, minlength=BATCH) == 1) & (good.sum(1) >= 4) & ((tags > 0).sum(1) == 2)
    k = np.flatnonzero(keep)
    l = where[k]
    if len(k) == 0:
        return np.zeros((0, 28), np.float32)
    L = np.stack([parts.pt[l], parts.eta[l], parts.phi[l]], -1)
    Mi = np.stack([np.hypot(x, y), np.arctan2(-y, -x)], -1)[k]
    return higgs_features.features(L, Mi, J[k], tags[k])


def flavour(eta,phi,hadrons):
    h=hadrons.select(hadrons.pt>4); fl=detector.hadron_flavour(h.pdg)
    flav=np.zeros(eta.shape,int)
    near=np.hypot(h.eta[:,None]-eta[h.event],wrap(h.phi[:,None]-phi[h.event]))<.4
    np.maximum.at(flav, h.event, np.where(near, fl[:,None], 0))
    return flav

def tag(eta, phi, pt, good, hadrons, rng):
    T = TUNE
    fl = detector.hadron_flavour(hadrons.pdg)
    h = hadrons.select(hadrons.pt > 4)
    fl = detector.hadron_flavour(h.pdg)
    flav = np.zeros(pt.shape, int)
    de = h.eta[:, None] - eta[h.event]
    dp = wrap(h.phi[:, None] - phi[h.event])
    near = np.hypot(de, dp) < 0.4
    np.maximum.at(flav, h.event, np.where(near, fl[:, None], 0))
    a = np.abs(eta)
    eff = np.where(flav == 5, T.get("b_eff", 0.7), np.where(flav == 4, T["c_eff"], T["l_eff"]))
    eff = eff * eff_pt(pt) * eff_eta(a)
    u = rng.random(pt.shape)
    t = rng.random(pt.shape)
    return np.where(good & (u < eff), np.where(t < 0.815, 2, 1), 0)


def eff_pt(pt):
    return np.minimum(1, pt / 40)


def eff_eta(a):
    return np.where(a < 1, 1, np.where(a < TAG_ETA, 1 - 0.0 * (a - 1), 0))


def isolated(parts, tracked):
    c = np.abs(parts.pdg)
    lep = np.flatnonzero(
        ((c == 11) | (c == 13))
        & tracked
        & (parts.pt > LEPTON_PT)
        & (np.abs(parts.eta) < LEPTON_ETA)
    )
    st = np.searchsorted(parts.event, parts.event[lep])
    en = np.searchsorted(parts.event, parts.event[lep], side="right")
    ok = []
    for i, a, b in zip(lep, st, en):
        s = slice(a, b)
        dr = np.hypot(parts.eta[s] - parts.eta[i], wrap(parts.phi[s] - parts.phi[i]))
        if parts.pt[s][dr < ISOLATION_RADIUS].sum() - parts.pt[i] < ISOLATION * parts.pt[i]:
            ok.append(i)
    return np.array(ok, int)
