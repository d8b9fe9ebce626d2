"""Proton collisions by Pythia and a parametric detector around them, all in flat numpy arrays.

The layout is a simplified CMS: a tracker in a solenoid, a lead-tungstate electromagnetic and a
sampling hadron calorimeter. Every particle is moved along its helix, answers with the resolution
of what measures it, and becomes one particle-flow-like candidate; there is no material, no noise
and no pile-up. Energies and momenta in GeV, angles in radian, lengths in metres.

Sources: CMS, JINST 3 S08004 (2008), geometry and resolutions; Pythia 8.3, arXiv:2203.11601;
FastJet, arXiv:1111.6097; anti-kt, arXiv:0802.1189.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from hepbench import Array, DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

FIELD_TESLA = 3.8
BARREL_RADIUS = 1.29
ENDCAP_Z = 3.17
TRACKER_ETA = 2.5
CALORIMETER_ETA = 4.9
TRACK_PT = 0.4
"""Softer charged particles leave no track."""
TOWER_PT = 0.3
"""Softer deposits make no candidate of their own."""
TRACK_EFFICIENCY = 0.93
MUON_EFFICIENCY = 0.99
PION_MASS = 0.13957

ELECTRON, MUON, PHOTON = 11, 13, 22
NEUTRINOS = (12, 14, 16)
PYTHIA_SEEDS = 900_000_000


@dataclass(frozen=True)
class Particles:
    """Particles of many events, in the order of their events.

    Attributes:
        event: (N,) int64, from 0.
        pdg: (N,) int64, PDG code.
        charge: (N,) float64.
        pt, eta, phi, energy: (N,) float64.
    """

    event: Array
    pdg: Array
    charge: Array
    pt: Array
    eta: Array
    phi: Array
    energy: Array

    def select(self, chosen: Array) -> Particles:
        """Return the particles that a mask or an index names."""
        return Particles(**{name: values[chosen] for name, values in vars(self).items()})


def require_generators() -> None:
    """Import what the generators stand on.

    Raises:
        DataError: Pythia, FastJet, awkward or vector is not installed.
    """
    try:
        import awkward  # noqa: F401
        import fastjet  # noqa: F401
        import pythia8mc  # noqa: F401
        import vector
    except ImportError as error:
        msg = f'{error.name} is missing; simulate with: pip install "hepbench-plugins[simulate]"'
        raise DataError(msg) from error
    vector.register_awkward()


def start_pythia(settings: Iterable[str], *, seed: int, energy: float, hook: Any = None) -> Any:
    """Return a Pythia ready for proton collisions.

    Args:
        settings: lines in Pythia's language.
        seed: any non-negative integer.
        energy: of both protons together.

    Raises:
        DataError: Pythia does not accept a setting, or cannot begin.
    """
    import pythia8mc

    pythia = pythia8mc.Pythia("", False)
    fixed = [
        "Print:quiet = on",
        f"Beams:eCM = {energy}",
        "Random:setSeed = on",
        f"Random:seed = {1 + seed % PYTHIA_SEEDS}",
        # decays within 10 mm happen in Pythia, as in front of any detector
        "ParticleDecays:limitTau0 = on",
        "ParticleDecays:tau0Max = 10.",
    ]
    for line in [*fixed, *settings]:
        if not pythia.readString(line):
            msg = f"Pythia does not accept the setting '{line}'"
            raise DataError(msg)
    if hook is not None:
        pythia.setUserHooksPtr(hook)
    if not pythia.init():
        msg = "Pythia cannot begin with these settings"
        raise DataError(msg)
    return pythia


def collide(pythia: Any, events: int) -> tuple[Particles, Particles]:
    """Return (visible, hadrons) of so many collisions.

    ``visible`` are the stable particles but neutrinos; ``hadrons`` the bottom and charm hadrons on
    their way to them.
    """
    import awkward as ak

    record = pythia.nextBatch(events).prt
    counts = ak.to_numpy(ak.num(record.id))
    pdg = ak.to_numpy(ak.flatten(record.id)).astype(np.int64)
    px, py, pz, energy = (
        ak.to_numpy(ak.flatten(record.p[name])) for name in ("px", "py", "pz", "e")
    )
    pt = np.maximum(np.hypot(px, py), 1e-9)
    everything = Particles(
        event=np.repeat(np.arange(len(counts)), counts),
        pdg=pdg,
        charge=_charges(pythia, pdg),
        pt=pt,
        eta=np.arcsinh(pz / pt),
        phi=np.arctan2(py, px),
        energy=energy,
    )
    stable = ak.to_numpy(ak.flatten(record.status)) > 0
    visible = stable & ~np.isin(np.abs(pdg), NEUTRINOS)
    return everything.select(visible), everything.select(hadron_flavour(pdg) > 0)


def _charges(pythia: Any, pdg: Array) -> Array:
    kinds, where = np.unique(pdg, return_inverse=True)
    return np.array([pythia.particleData.charge(int(kind)) for kind in kinds])[where]


def hadron_flavour(pdg: Array) -> Array:
    """Return 5 for bottom hadrons, 4 for charm hadrons and 0 for all else, from PDG codes."""
    code = np.abs(pdg)
    hadron = (code > 100) & (code < 10_000)
    heaviest = np.where(code >= 1000, code // 1000, code // 100) % 10
    return np.where(hadron & np.isin(heaviest, (4, 5)), heaviest, 0)


def wrap(phi: Array) -> Array:
    """Return angles in [-pi, pi)."""
    return (phi + np.pi) % (2 * np.pi) - np.pi


def helix(particles: Particles) -> tuple[Array, Array, Array]:
    """Return (eta, phi, reached) at the inner face of the calorimeters.

    The face is a cylinder of ``BARREL_RADIUS`` closed at ``ENDCAP_Z``; particles start at its
    centre. ``reached`` is False where |eta| there is beyond ``CALORIMETER_ETA``.
    """
    slope = np.sinh(particles.eta)
    steep = np.maximum(np.abs(slope), 1e-9)
    curvature = 0.299792458 * FIELD_TESLA * np.abs(particles.charge) / (2 * particles.pt)
    curvature = np.maximum(curvature, 1e-12)  # 1 / diameter; neutral particles as good as straight
    # half the turning angle at the barrel; a curler never comes that far out
    to_barrel = np.arcsin(np.minimum(BARREL_RADIUS * curvature, 1.0))
    to_endcap = ENDCAP_Z / steep * curvature
    curls = curvature * BARREL_RADIUS >= 1
    barrel = ~curls & (to_barrel <= to_endcap)
    half_turn = np.where(barrel, to_barrel, to_endcap)
    radius = np.where(barrel, BARREL_RADIUS, np.abs(np.sin(half_turn)) / curvature)
    z = np.where(barrel, half_turn / curvature * slope, np.sign(slope) * ENDCAP_Z)
    eta = np.arcsinh(z / np.maximum(radius, 1e-6))
    phi = wrap(particles.phi - np.sign(particles.charge) * half_turn)
    return eta, phi, np.abs(eta) < CALORIMETER_ETA


def deposits(particles: Particles, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the energies (electromagnetic, hadronic) that the calorimeters measure, each (N,).

    Electrons and photons: 2.8 % / sqrt(E) and 0.5 %; hadrons: 110 % / sqrt(E) and 9 %, of which
    six in ten begin to shower in the crystals; muons and the other hadrons leave there what a
    minimum ionising particle does.
    """
    energy = particles.energy
    code = np.abs(particles.pdg)
    light, heavy = rng.standard_normal((2, len(energy)))
    electromagnetic = np.isin(code, (ELECTRON, PHOTON))
    crystals = energy * np.maximum(
        1 + light * np.hypot(0.028 / np.sqrt(np.maximum(energy, 1e-3)), 0.005), 0.0
    )
    spread = np.minimum(np.hypot(1.1 / np.sqrt(np.maximum(energy, 0.5)), 0.09), 0.8)
    shower = energy * np.maximum(1 + heavy * spread, 0.0)
    ionisation = np.minimum(0.25 * (1 + rng.exponential(0.3, len(energy))), energy)
    early = rng.random(len(energy)) < 0.6
    share = rng.beta(2.0, 2.0, len(energy))
    in_crystals = np.where(early, share * shower, np.minimum(ionisation, shower))
    muon = code == MUON
    ecal = np.where(electromagnetic, crystals, np.where(muon, ionisation, in_crystals))
    behind = np.where(muon, np.minimum(2.0, energy - ionisation), shower - in_crystals)
    return ecal, np.where(electromagnetic, 0.0, behind)


def candidates(particles: Particles, rng: np.random.Generator) -> tuple[Particles, Array]:
    """Return (candidates, tracked): what particle flow would make of the particles.

    Where a track is found it gives momentum and direction at the vertex; elsewhere the calorimeter
    gives the energy, and the direction is that of the deposit. ``tracked`` is (M,) bool.
    """
    eta, phi, reached = helix(particles)
    deposited = np.sum(deposits(particles, rng), axis=0)
    muon = np.abs(particles.pdg) == MUON
    found = rng.random(len(eta)) < np.where(muon, MUON_EFFICIENCY, TRACK_EFFICIENCY)
    inside = (np.abs(particles.eta) < TRACKER_ETA) & (particles.pt > TRACK_PT)
    tracked = (particles.charge != 0) & inside & found
    spread = rng.standard_normal(len(eta)) * np.hypot(0.01, 1.5e-4 * particles.pt)
    eta = np.where(tracked, particles.eta, eta)
    phi = np.where(tracked, particles.phi, phi)
    track_pt = particles.pt * np.maximum(1 + spread, 0.1)
    pt = np.where(tracked, track_pt, deposited / np.cosh(eta))
    mass = np.where(tracked, PION_MASS, 0.0)
    kept = np.flatnonzero(tracked | (reached & (pt > TOWER_PT)))
    measured = Particles(
        event=particles.event,
        pdg=particles.pdg,
        charge=particles.charge,
        pt=pt,
        eta=eta,
        phi=phi,
        energy=np.hypot(pt * np.cosh(eta), mass),
    )
    return measured.select(kept), tracked[kept]


@dataclass(frozen=True)
class Jets:
    """Jets of E events in rows of equal length, hardest first, filled up with pt = 0.

    Attributes:
        pt, eta, phi: (E, K) float64.
    """

    pt: Array
    eta: Array
    phi: Array


def cluster(parts: Particles, *, events: int, radius: float, pt: float) -> Jets:
    """Return the anti-kt jets of so many events, of at least ``pt``."""
    import awkward as ak
    import fastjet

    counts = np.bincount(parts.event, minlength=events)
    components = {
        "px": parts.pt * np.cos(parts.phi),
        "py": parts.pt * np.sin(parts.phi),
        "pz": parts.pt * np.sinh(parts.eta),
        "E": parts.energy,
    }
    momenta = ak.unflatten(ak.zip(components, with_name="Momentum4D"), counts)
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    found = fastjet.ClusterSequence(momenta, definition).inclusive_jets(pt)
    return _in_rows(*(ak.to_list(found[name]) for name in ("px", "py", "pz")))


def _in_rows(px: list[list[float]], py: list[list[float]], pz: list[list[float]]) -> Jets:
    width = max(map(len, px), default=0)
    x, y, z = (
        np.array([row + [0.0] * (width - len(row)) for row in part]) for part in (px, py, pz)
    )
    pt = np.hypot(x, y)
    order = np.argsort(-pt, axis=1, kind="stable")
    eta = np.arcsinh(z / np.maximum(pt, 1e-9))
    return Jets(*(np.take_along_axis(v, order, 1) for v in (pt, eta, np.arctan2(y, x))))
