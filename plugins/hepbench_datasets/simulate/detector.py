"""Simulate proton collisions by Pythia, and the particles that a detector would measure.

The layout is a simplified CMS: a tracker in a solenoid, a lead-tungstate electromagnetic and a
sampling hadron calorimeter. Every particle is propagated along its helix, measured with the
resolution of the tracker or calorimeter, and becomes one candidate similar to particle flow. There
is no material, no noise (images have noise, see ``jet_images.py``) and no pile-up. Energies and
momenta in GeV, angles in radian, lengths in metres.

Sources: CMS, JINST 3 S08004 (2008), geometry and resolutions; FastSimulation/Calorimetry of CMSSW
(``HcalResponse_cfi.py``), response of calorimeters to hadrons; Pythia 8.3, arXiv:2203.11601;
FastJet, arXiv:1111.6097; anti-kt, arXiv:0802.1189.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench import Array, DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

GENERATORS = ("pythia8mc", "fastjet", "awkward", "vector")

FIELD_TESLA = 3.8
BARREL_RADIUS = 1.29
ENDCAP_Z = 3.17
TRACKER_ETA = 2.5
CALORIMETER_ETA = 4.9
TRACK_PT = 0.4
"""Smallest pt of a charged particle with a track, in GeV."""
TOWER_PT = 0.3
"""Smallest pt of a calorimeter deposit that is measured, in GeV."""
TRACK_EFFICIENCY = 0.93
MUON_EFFICIENCY = 0.99
PION_MASS = 0.13957

HADRON_ENERGIES = (1.0, 2.0, 3.0, 5.0, 9.0, 15.0, 30.0, 100.0, 300.0)
BARREL_RESPONSE = (0.45, 0.69, 0.70, 0.73, 0.77, 0.79, 0.87, 0.90, 0.91)
ENDCAP_RESPONSE = (0.20, 0.57, 0.60, 0.64, 0.71, 0.75, 0.85, 0.89, 0.92)
RESPONSE_BARREL_ETA = 1.6
"""Fraction of a charged pion's energy that is measured before calibration, at the energies in GeV
above; averages of CMS's full simulation over |eta| to 1.6 and from there to 2.5."""

COMPONENTS = ("px", "py", "pz", "E")
"""Components of a momentum, as vector and fastjet name them."""
ELECTRON, MUON, PHOTON = 11, 13, 22
NEUTRINOS = (12, 14, 16)
CHARM, BOTTOM = 4, 5
PYTHIA_SEEDS = 900_000_000


@dataclass(frozen=True)
class Particles:
    """Particles of many simulated events, in the order of their events.

    Attributes:
        event: (N,) int64, from 0.
        pdg: (N,) int64, PDG code.
        charge: (N,) float64.
        pt, eta, phi, energy: (N,) float64.
        origin: (N, 3) float64, position of origin relative to the collision; None if not requested.
    """

    event: Array
    pdg: Array
    charge: Array
    pt: Array
    eta: Array
    phi: Array
    energy: Array
    origin: Array | None = None

    def select(self, chosen: Array) -> Particles:
        """Return the particles selected by a mask or an index."""
        columns = {name: values for name, values in vars(self).items() if values is not None}
        return Particles(**{name: values[chosen] for name, values in columns.items()})


@dataclass(frozen=True)
class Response:
    """The detector's response to N particles.

    Attributes:
        eta, phi: (N,) float64, at the inner face of the calorimeters.
        reached: (N,) bool, True if the particle reaches the face.
        ecal, hcal: (N,) float64, energies of the deposits.
        tracked: (N,) bool, True if a track is found.
        track_pt: (N,) float64, pt of the track, if one is found.
    """

    eta: Array
    phi: Array
    reached: Array
    ecal: Array
    hcal: Array
    tracked: Array
    track_pt: Array

    def select(self, chosen: Array) -> Response:
        """Return the response to the particles selected by a mask or an index."""
        return Response(**{name: values[chosen] for name, values in vars(self).items()})


@dataclass(frozen=True)
class Jets:
    """Jets of E simulated events in rows of equal length, padded by pt = 0.

    Attributes:
        pt, eta, phi, mass: (E, K) float64.
    """

    pt: Array
    eta: Array
    phi: Array
    mass: Array


def require_generators() -> None:
    """Check that the packages for simulation are installed, without importing them.

    Raises:
        DataError: Pythia, FastJet, awkward or vector is not installed.
    """
    missing = [name for name in GENERATORS if find_spec(name) is None]
    if missing:
        msg = (
            f"simulation: {', '.join(missing)} not installed; install the generators: "
            'pip install "hepbench-plugins[simulate]"'
        )
        raise DataError(msg)


def start_pythia(settings: Iterable[str], *, seed: int, energy: float, veto: Any = None) -> Any:
    """Return a Pythia generator that is ready to simulate proton collisions.

    Args:
        settings: lines in Pythia's language.
        seed: any non-negative integer.
        energy: of both protons together.
        veto: a ``pythia8mc.UserHooks``; the caller keeps it alive.

    Raises:
        DataError: Pythia does not accept a setting, or cannot be initialised.
    """
    import pythia8mc

    pythia = pythia8mc.Pythia("", False)
    fixed = (
        "Print:quiet = on",
        f"Beams:eCM = {energy}",
        "Random:setSeed = on",
        f"Random:seed = {1 + seed % PYTHIA_SEEDS}",
        # particles that live longer than 10 mm / c decay in the detector or behind it
        "ParticleDecays:limitTau0 = on",
        "ParticleDecays:tau0Max = 10.",
    )
    for line in (*fixed, *settings):
        if not pythia.readString(line):
            msg = f"Pythia does not accept the setting '{line}'"
            raise DataError(msg)
    if veto is not None:
        pythia.setUserHooksPtr(veto)
    if not pythia.init():
        msg = "Pythia cannot be initialised with these settings"
        raise DataError(msg)
    return pythia


def collide(pythia: Any, events: int) -> tuple[Particles, Particles]:
    """Simulate collisions; return their visible particles and heavy hadrons.

    The visible particles are the stable ones except neutrinos; the hadrons are the bottom and charm
    hadrons that decayed into them.
    """
    particles, status = collisions(pythia, events)
    seen = visible(particles, status)
    return particles.select(seen), particles.select(hadron_flavour(particles.pdg) > 0)


def collisions(pythia: Any, events: int, *, origins: bool = False) -> tuple[Particles, Array]:
    """Simulate collisions; return all particles that Pythia lists, and their status codes."""
    import awkward as ak

    record = pythia.nextBatch(events).prt
    counts = ak.to_numpy(ak.num(record.id))
    pdg = ak.to_numpy(ak.flatten(record.id)).astype(np.int64)
    px, py, pz, energy = _components(record.p, ("px", "py", "pz", "e"))
    pt = np.maximum(np.hypot(px, py), 1e-9)
    # Pythia gives positions in mm, and none for particles that begin at the collision
    origin = np.stack(_components(record.vProd, ("px", "py", "pz")), 1) / 1000 if origins else None
    particles = Particles(
        event=np.repeat(np.arange(len(counts)), counts),
        pdg=pdg,
        charge=_charges(pythia, pdg),
        pt=pt,
        eta=np.arcsinh(pz / pt),
        phi=np.arctan2(py, px),
        energy=energy,
        origin=origin,
    )
    return particles, ak.to_numpy(ak.flatten(record.status))


def _components(vectors: Any, names: Iterable[str]) -> list[Array]:
    import awkward as ak

    flat = ak.flatten(vectors)
    return [ak.to_numpy(ak.fill_none(flat[name], 0.0)) for name in names]


def visible(particles: Particles, status: Array) -> Array:
    """Find the visible particles, (N,) bool: stable ones except neutrinos."""
    return (status > 0) & ~np.isin(np.abs(particles.pdg), NEUTRINOS)


def _charges(pythia: Any, pdg: Array) -> Array:
    kinds, where = np.unique(pdg, return_inverse=True)
    return np.array([pythia.particleData.charge(int(kind)) for kind in kinds])[where]


def hadron_flavour(pdg: Array) -> Array:
    """Return the flavour of hadrons by PDG code: 5 for bottom, 4 for charm, 0 for all others."""
    code = np.abs(pdg)
    hadron = (code > 100) & (code < 10_000)
    heaviest = np.where(code >= 1000, code // 1000, code // 100) % 10
    return np.where(hadron & np.isin(heaviest, (CHARM, BOTTOM)), heaviest, 0)


def wrap(phi: Array) -> Array:
    """Return angles in [-pi, pi)."""
    return (phi + np.pi) % (2 * np.pi) - np.pi


def helix(
    particles: Particles,
    *,
    field: float = FIELD_TESLA,
    radius: float = BARREL_RADIUS,
    end: float = ENDCAP_Z,
) -> tuple[Array, Array, Array]:
    """Return where particles in the magnetic field reach the calorimeters: eta, phi, reached.

    The face is a cylinder of ``radius`` closed at ``end``, in metres; particles start at its
    centre. ``reached`` is False if |eta| there is larger than ``CALORIMETER_ETA``.
    """
    slope = np.sinh(particles.eta)
    # 1 / diameter of the circle in metres; at least 1e-12, for neutral particles a straight line
    bend = 0.299792458 * field * np.abs(particles.charge) / (2 * particles.pt)
    bend = np.maximum(bend, 1e-12)
    # half of the turning angle at each face; curling particles never reach the barrel
    at_barrel = np.arcsin(np.minimum(radius * bend, 1.0))
    at_endcap = end / np.maximum(np.abs(slope), 1e-9) * bend
    barrel = (radius * bend < 1) & (at_barrel <= at_endcap)
    turned = np.where(barrel, at_barrel, at_endcap)
    distance = np.abs(np.sin(turned)) / bend
    eta = np.arcsinh(turned / bend * slope / np.maximum(distance, 1e-6))
    phi = wrap(particles.phi - np.sign(particles.charge) * turned)
    return eta, phi, np.abs(eta) < CALORIMETER_ETA


def deposits(particles: Particles, rng: np.random.Generator) -> tuple[Array, Array]:
    """Simulate the energies that both calorimeters measure for each particle.

    Electrons and photons: 2.8 % / sqrt(E) and 0.5 %. Hadrons: 110 % / sqrt(E) and 9 %; 60 % of them
    begin to shower in the crystals. Muons and the other hadrons deposit the energy of a minimum
    ionising particle there.
    """
    energy = np.maximum(particles.energy, 1e-3)
    code = np.abs(particles.pdg)
    light, heavy = rng.standard_normal((2, len(energy)))
    photons = energy * np.maximum(1 + light * np.hypot(0.028 / np.sqrt(energy), 0.005), 0.0)
    spread = np.minimum(np.hypot(1.1 / np.sqrt(np.maximum(energy, 0.5)), 0.09), 0.8)
    shower = energy * np.maximum(1 + heavy * spread, 0.0)
    ionisation = np.minimum(0.25 * (1 + rng.exponential(0.3, len(energy))), energy)
    early = rng.random(len(energy)) < 0.6
    fraction = rng.beta(2.0, 2.0, len(energy))
    in_crystals = np.where(early, fraction * shower, np.minimum(ionisation, shower))
    kinds = [np.isin(code, (ELECTRON, PHOTON)), code == MUON]
    ecal = np.select(kinds, [photons, ionisation], in_crystals)
    hcal = np.select(kinds, [0.0, np.minimum(energy - ionisation, 2.0)], shower - in_crystals)
    return ecal, hcal


def respond(particles: Particles, rng: np.random.Generator) -> Response:
    """Simulate the response of tracker and calorimeters to each particle."""
    eta, phi, reached = helix(particles)
    ecal, hcal = deposits(particles, rng)
    muon = np.abs(particles.pdg) == MUON
    found = rng.random(len(eta)) < np.where(muon, MUON_EFFICIENCY, TRACK_EFFICIENCY)
    inside = (np.abs(particles.eta) < TRACKER_ETA) & (particles.pt > TRACK_PT)
    spread = rng.standard_normal(len(eta)) * np.hypot(0.01, 1.5e-4 * particles.pt)
    return Response(
        eta=eta,
        phi=phi,
        reached=reached,
        ecal=ecal,
        hcal=hcal,
        tracked=(particles.charge != 0) & inside & found,
        track_pt=particles.pt * np.maximum(1 + spread, 0.1),
    )


def uncalibrated(particles: Particles, response: Response) -> Response:
    """Return the detector's response with the energies of hadrons before calibration.

    The calorimeters are not compensating: for a soft hadron they measure less energy than for an
    electron of the same energy. Particle flow corrects this, so jets are made from the result of
    ``respond``.
    """
    energy = np.log(np.maximum(particles.energy, 1e-3))
    barrel, endcap = (
        np.interp(energy, np.log(HADRON_ENERGIES), fraction)
        for fraction in (BARREL_RESPONSE, ENDCAP_RESPONSE)
    )
    fraction = np.where(np.abs(response.eta) < RESPONSE_BARREL_ETA, barrel, endcap)
    fraction[np.isin(np.abs(particles.pdg), (ELECTRON, MUON, PHOTON))] = 1.0
    return replace(response, ecal=fraction * response.ecal, hcal=fraction * response.hcal)


def candidates(particles: Particles, rng: np.random.Generator) -> tuple[Particles, Array]:
    """Simulate the measured particles (particle flow), and whether each has a track.

    ``tracked`` is (M,) bool; see ``combine``.
    """
    return combine(particles, respond(particles, rng))


def combine(particles: Particles, response: Response) -> tuple[Particles, Array]:
    """Return the measured particles that follow from a detector's response, and ``tracked``.

    If a track is found, it gives momentum and direction at the vertex; otherwise the calorimeter
    gives the energy, and the direction is that of the deposit. ``tracked`` is (M,) bool, True for
    candidates with a track.
    """
    tracked = response.tracked
    eta = np.where(tracked, particles.eta, response.eta)
    deposited = response.ecal + response.hcal
    pt = np.where(tracked, response.track_pt, deposited / np.cosh(eta))
    measured = Particles(
        event=particles.event,
        pdg=particles.pdg,
        charge=particles.charge,
        pt=pt,
        eta=eta,
        phi=np.where(tracked, particles.phi, response.phi),
        energy=np.hypot(pt * np.cosh(eta), np.where(tracked, PION_MASS, 0.0)),
    )
    kept = np.flatnonzero(tracked | (response.reached & (pt > TOWER_PT)))
    return measured.select(kept), tracked[kept]


def cluster(parts: Particles, *, events: int, radius: float, pt: float) -> Jets:
    """Find the anti-kt jets with at least ``pt`` in each event."""
    import awkward as ak

    found = _cluster_sequence(parts, events=events, radius=radius).inclusive_jets(pt)
    width = max(int(ak.max(ak.num(found.px))), 1)
    rows = (ak.fill_none(ak.pad_none(found[name], width), 0.0) for name in COMPONENTS)
    return _jets(*(ak.to_numpy(row) for row in rows))


def leading(parts: Particles, *, events: int, radius: float) -> tuple[Jets, Array]:
    """Find the anti-kt jet of largest pt in each event, and the particles in it.

    An event without particles has a jet of pt = 0.
    """
    import awkward as ak

    clustered = _cluster_sequence(parts, events=events, radius=radius)
    found, members = clustered.inclusive_jets(), clustered.constituent_index()
    first = ak.argmax(np.hypot(found.px, found.py), axis=1, keepdims=True)
    rows = (ak.fill_none(found[name][first], 0.0) for name in COMPONENTS)
    jets = _jets(*(ak.to_numpy(row) for row in rows))
    ours = ak.flatten(ak.fill_none(members[first], [], axis=1), axis=2)
    starts = np.searchsorted(parts.event, np.arange(events))
    inside = np.zeros(len(parts.event), bool)
    inside[ak.to_numpy(ak.flatten(ours + starts))] = True
    return jets, inside


def _cluster_sequence(parts: Particles, *, events: int, radius: float) -> Any:
    """Cluster the particles of events by FastJet's anti-kt algorithm."""
    import awkward as ak
    import fastjet
    import vector

    vector.register_awkward()
    values = (
        *(parts.pt * np.cos(parts.phi), parts.pt * np.sin(parts.phi)),
        *(parts.pt * np.sinh(parts.eta), parts.energy),
    )
    counts = np.bincount(parts.event, minlength=events)
    named = ak.zip(dict(zip(COMPONENTS, values, strict=True)), with_name="Momentum4D")
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    return fastjet.ClusterSequence(ak.unflatten(named, counts), definition)


def _jets(px: Array, py: Array, pz: Array, energy: Array) -> Jets:
    pt = np.hypot(px, py)
    eta = np.arcsinh(pz / np.maximum(pt, 1e-9))
    mass = np.sqrt(np.maximum(energy**2 - pt**2 - pz**2, 0.0))
    return Jets(pt, eta, np.arctan2(py, px), mass)


def jet_flavour(jets: Jets, hadrons: Particles, *, radius: float, pt: float) -> Array:
    """Return the flavour of each jet, (E, K): that of the heaviest hadron nearby (5, 4 or 0)."""
    hard = hadrons.select(hadrons.pt > pt)
    flavour = np.zeros(jets.pt.shape, np.int64)
    deta = hard.eta[:, None] - jets.eta[hard.event]
    dphi = wrap(hard.phi[:, None] - jets.phi[hard.event])
    near = (np.hypot(deta, dphi) < radius) & (jets.pt[hard.event] > 0)
    np.maximum.at(flavour, hard.event, near * hadron_flavour(hard.pdg)[:, None])
    return flavour


def near(jets: Jets, particles: Particles, *, radius: float) -> Array:
    """Find the jets that have one of the given particles nearby, (E, K) bool."""
    found = np.zeros(jets.pt.shape, bool)
    deta = particles.eta[:, None] - jets.eta[particles.event]
    dphi = wrap(particles.phi[:, None] - jets.phi[particles.event])
    np.logical_or.at(found, particles.event, np.hypot(deta, dphi) < radius)
    return found & (jets.pt > 0)
