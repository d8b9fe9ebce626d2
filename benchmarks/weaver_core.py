"""Compare particle networks with the authors' implementations in weaver-core, in Markdown.

    pip install --no-deps --target FOLDER weaver-core==0.5.3
    .venv/bin/python benchmarks/weaver_core.py FOLDER

Without its dependencies, some of which clash with others, weaver-core's networks need torch alone.
Both networks get the same weights, normalisation included, and score the same made-up jets in
double precision: once jets with more particles than a block has neighbours, once with fewer. MACs are
those of hepbench's counters for a jet without padding. Sizes and inputs are those of JetClass: 17
features, 128 particles, 10 classes.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

import torch
from hepbench_models import PARTICLE_TRANSFORMER, PARTICLENET
from tabulate import tabulate
from torch import Tensor, nn

from hepbench.cost import counting
from hepbench.registry.resolve import resolve
from hepbench.specs.parameters import defaults

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hepbench import Model

FEATURES, PARTICLES, CLASSES = 17, 128, 10
JETS = 20


class Ours(nn.Module):
    """A network of hepbench with a linear head."""

    def __init__(self, spec: Model, preset: str, *, k: int) -> None:
        super().__init__()
        shapes = {"cloud": (PARTICLES, FEATURES), "mask": (PARTICLES,), "momenta": (PARTICLES, 4)}
        shapes["neighbours"] = (PARTICLES, k)
        params = defaults(spec.params, preset)
        self.encoder = resolve(spec.build)(shapes, **params)
        self.head = nn.Linear(params.get("hidden", params.get("width")), CLASSES)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return logits."""
        return self.head(self.encoder.encode(inputs))


class Theirs(nn.Module):
    """A network of weaver-core, called with named inputs."""

    def __init__(self, network: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.names = network, names

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return logits."""
        columns = [inputs[name].transpose(1, 2) for name in self.names]
        return self.network(*columns, mask=inputs["mask"][:, None])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Compare particle networks with weaver-core's.")
    parser.add_argument("folder", metavar="FOLDER", help="where weaver-core is installed")
    # behind the libraries of this environment
    sys.path.append(parser.parse_args().folder)
    torch.set_num_threads(1)
    heads = ("network", "parameters", "weaver-core's", "largest difference of a logit")
    more = ("with few particles", "MACs", "weaver-core's")
    print(tabulate(list(map(row, NETWORKS)), (*heads, *more), tablefmt="github", intfmt=","))


def row(name: str) -> list[str | int]:
    """Return a line about one network."""
    spec, preset, k, build, copy = NETWORKS[name]
    torch.manual_seed(0)
    theirs, ours = build(k), Ours(spec, preset, k=k)
    sizes = [parameters(ours), parameters(theirs)]
    draw(theirs)
    copy(ours, theirs.network)
    many, few = (jets(n, k) for n in ((k + 5, PARTICLES), (2, k)))
    apart = [difference(ours, theirs, inputs) for inputs in (many, few)]
    whole = {n: v.float() if v.is_floating_point() else v for n, v in jets((128, 128), k).items()}
    one = {n: v[:1] for n, v in whole.items()}
    macs = [counting.count(network.float(), one) for network in (ours, theirs)]
    for counted in macs:
        assert not counted.warnings, counted.warnings
    return [name, *sizes, *(f"{a:.1g}" for a in apart), *(counted.macs for counted in macs)]


def parameters(network: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(p.numel() for p in network.parameters())


def draw(network: nn.Module) -> None:
    """Give all weights and statistics of normalisations values that are not their initial ones."""
    for p in network.parameters():
        p.data += 0.1 * torch.randn_like(p)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)


def difference(ours: nn.Module, theirs: nn.Module, inputs: Mapping[str, Tensor]) -> float:
    """Return the largest difference between logits, as a fraction of their standard deviation."""
    with torch.no_grad():
        found, expected = (network.double().eval()(inputs) for network in (ours, theirs))
    return float((found - expected).abs().max() / expected.std())


def jets(counts: tuple[int, int], k: int) -> dict[str, Tensor]:
    """Return made-up jets with a number of particles between two, and their neighbours."""
    generator = torch.Generator().manual_seed(1)
    low, high = counts
    n = torch.randint(low, high + 1, (JETS, 1), generator=generator)
    mask = torch.arange(PARTICLES) < n
    points = 0.3 * torch.randn(JETS, PARTICLES, 2, generator=generator, dtype=torch.float64)
    pt = torch.rand(JETS, PARTICLES, generator=generator, dtype=torch.float64) * 50 + 1
    # of half of the particles; the others are massless
    mass = 0.14 * (torch.arange(PARTICLES) % 2)
    eta, phi = points.unbind(2)
    mt = (pt.square() + mass.square()).sqrt()
    columns = (pt * phi.cos(), pt * phi.sin(), mt * eta.sinh(), mt * eta.cosh())
    cloud = torch.randn(JETS, PARTICLES, FEATURES, generator=generator, dtype=torch.float64)
    inputs = {"points": points, "momenta": torch.stack(columns, 2), "cloud": cloud}
    inputs = {name: values * mask[..., None] for name, values in inputs.items()}
    return {**inputs, "mask": mask, "neighbours": neighbours(inputs["points"], mask, k)}


def neighbours(points: Tensor, mask: Tensor, k: int) -> Tensor:
    """Return the k nearest other particles; a particle's own index where there are fewer."""
    own = torch.arange(PARTICLES)
    distances = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    distances = distances.masked_fill(~mask[:, None] | (own == own[:, None]), torch.inf)
    found, near = distances.topk(k, largest=False)
    return torch.where((found < torch.inf) & mask[..., None], near, own[:, None])


# --- weaver-core's networks, and where their weights belong in ours


def particle_net(widths: tuple[int, ...], hidden: int) -> Callable[[int], nn.Module]:
    """Return what builds their ParticleNet for some number of neighbours."""

    def build(k: int) -> nn.Module:
        from weaver.nn.model.ParticleNet import ParticleNet

        network = ParticleNet(
            FEATURES,
            CLASSES,
            conv_params=[(k, (width,) * 3) for width in widths],
            fc_params=[(hidden, 0.1)],
            use_fusion=False,
            trim=False,
        )
        return Theirs(network, ("points", "cloud"))

    return build


def particle_transformer(_k: int) -> nn.Module:
    """Return their ParticleTransformer as published."""
    from weaver.nn.model.ParticleTransformer import ParticleTransformer

    network = ParticleTransformer(FEATURES, CLASSES, use_pre_activation_pair=False, trim=False)
    return Theirs(network, ("cloud", "momenta"))


def copy_particle_net(ours: Any, theirs: Any) -> None:
    """Copy the weights of their ParticleNet to ours."""
    encoder = ours.encoder
    copy_all(encoder.features, theirs.bn_fts)
    for block, their in zip(encoder.blocks, theirs.edge_convs, strict=True):
        first, *others = (c.weight.data.flatten(1) for c in their.convs)
        n = first.shape[1] // 2
        block.own.weight.data = first[:, :n] - first[:, n:]
        block.other.weight.data = first[:, n:].clone()
        for layer, weight in zip(block.layers, others, strict=True):
            layer.weight.data = weight.clone()
        for norm, bn in zip(block.norms, their.bns, strict=True):
            copy_all(norm, bn)
        block.shortcut.weight.data = their.sc.weight.data.flatten(1).clone()
        copy_all(block.shortcut_norm, their.sc_bn)
    copy_all(encoder.jet[0], theirs.fc[0][0])
    copy_all(ours.head, theirs.fc[1])


def copy_particle_transformer(ours: Any, theirs: Any) -> None:
    """Copy the weights of their ParticleTransformer to ours."""
    encoder = ours.encoder
    copy_all(encoder.features, theirs.embed.input_bn)
    embed = [m for m in theirs.embed.embed if list(m.parameters())]
    for i, stage in enumerate(encoder.embed):
        copy_all(stage[0], embed[2 * i])
        copy_all(stage[1], embed[2 * i + 1])
    pairs = list(theirs.pair_embed.embed)
    norms = [m for m in pairs if isinstance(m, nn.BatchNorm1d)]
    for norm, their in zip(encoder.pairs.norms, norms, strict=True):
        copy_all(norm, their)
    for layer, conv in zip(
        encoder.pairs.layers, [m for m in pairs if isinstance(m, nn.Conv1d)], strict=True
    ):
        layer.weight.data, layer.bias.data = conv.weight.data.flatten(1), conv.bias.data.clone()
    for block, their in zip(encoder.blocks, theirs.blocks, strict=True):
        copy_block(block, their)
        copy_all(block.attention.qkv, their.attn.in_proj)
    for block, their in zip(encoder.class_blocks, theirs.cls_blocks, strict=True):
        copy_block(block, their)
        inside, width = their.attn.in_proj, len(block.kept)
        attention = block.attention
        for layer, rows in (
            (attention.query, slice(width)),
            (attention.key_value, slice(width, None)),
        ):
            layer.weight.data, layer.bias.data = inside.weight.data[rows], inside.bias.data[rows]
    encoder.token.data = theirs.cls_token.data.clone()
    copy_all(encoder.norm, theirs.norm)
    copy_all(ours.head, theirs.fc[0])


def copy_block(ours: Any, theirs: Any) -> None:
    """Copy the weights of a block but those that make queries, keys and values."""
    for name, their in (
        *(("before", "pre_attn_norm"), ("after", "post_attn_norm")),
        *(("before_widening", "pre_fc_norm"), ("after_widening", "post_fc_norm")),
        *(("widen", "fc1"), ("narrow", "fc2")),
    ):
        copy_all(getattr(ours, name), getattr(theirs, their))
    copy_all(ours.attention.out, theirs.attn.out_proj)
    ours.attention.factors.data = theirs.c_attn.data.clone()
    ours.kept.data = theirs.w_resid.data.clone()


def copy_all(ours: nn.Module, theirs: nn.Module) -> None:
    """Copy all tensors of a layer, whose names are the same."""
    ours.load_state_dict(theirs.state_dict())


NETWORKS = {
    "ParticleNet-Lite": (
        *(PARTICLENET, "", 7, particle_net((32, 64), 128)),
        copy_particle_net,
    ),
    "ParticleNet": (
        *(PARTICLENET, "paper", 16, particle_net((64, 128, 256), 256)),
        copy_particle_net,
    ),
    "ParT": (
        *(PARTICLE_TRANSFORMER, "paper", 16, particle_transformer),
        copy_particle_transformer,
    ),
}
"""Name -> spec and preset of ours, number of neighbours, what builds theirs, and what copies weights."""


if __name__ == "__main__":
    main()
