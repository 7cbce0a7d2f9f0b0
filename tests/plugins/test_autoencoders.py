"""What every model of the family must do, whatever its options and the size of its images."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pytest
import torch
import zoo_autoencoders
from torch import Tensor

from tests.plugins.plain_loop import clothes, train
from zoo import DataSpec, Graph, Model
from zoo.catalog.lookup import find_model, load_class
from zoo.draws import draw_example
from zoo.modalities import can_sample
from zoo.options import configure

GREY = DataSpec.of_images("grey", channels=1, height=28, width=28)
COLOUR = DataSpec.of_images("colour", channels=3, height=32, width=32)
ODD = DataSpec.of_images("odd", channels=4, height=27, width=21)
DATA = pytest.mark.parametrize("data", [GREY, COLOUR, ODD], ids=lambda data: data.name)

VARIANTS = [
    ("ae", {"hidden": "40,30"}),
    ("ae", {"loss": "mse", "activation": "linear", "hidden": ""}),
    ("ae", {"loss": "mse", "activation": "tanh", "hidden": "30,20,10"}),
    ("conv-ae", {}),
    ("conv-ae", {"upsampling": "unpool", "channels": "4,6,8"}),
    ("conv-ae", {"downsampling": "strided", "channels": "5"}),
    ("denoising-ae", {"hidden": "40", "code_size": "30"}),
    ("denoising-ae", {"noise": "masking", "hidden": ""}),
    ("denoising-ae", {"noise": "salt-and-pepper", "hidden": "30,20"}),
    ("sparse-ae", {"hidden_units": "30"}),
    ("vae", {"hidden": "40,30"}),
    ("vae", {"hidden": "40", "likelihood": "gaussian"}),
    ("k-sparse-ae", {"hidden_units": "60"}),
    ("k-sparse-ae", {"hidden_units": "30", "k": "5", "alpha": "3"}),
    ("contractive-ae", {"hidden_units": "30"}),
    ("contractive-ae", {"hidden_units": "6", "hidden": "20"}),
    ("wta-ae", {"hidden_units": "30"}),
    ("wta-ae", {"network": "convolutional", "features": "4"}),
    ("hashing-ae", {"hidden": "40", "bits": "12"}),
    ("hashing-ae", {"hidden": "", "bits": "8", "sigma": "1"}),
    ("vq-vae", {"features": "8"}),
    ("vq-vae", {"features": "6", "residual_blocks": "0", "codebook_size": "9"}),
    ("adversarial-ae", {"hidden": "40,30"}),
    ("adversarial-ae", {"hidden": "40", "posterior": "gaussian"}),
]
MODELS = pytest.mark.parametrize(
    ("name", "options"),
    VARIANTS,
    ids=[f"{name}-{index}" for index, (name, _) in enumerate(VARIANTS)],
)


def build(name: str, options: Mapping[str, object] = {}, data: DataSpec = GREY) -> Model:
    torch.manual_seed(0)
    made = load_class(find_model(name))
    model = made(configure(made.Config, options), data)
    assert isinstance(model, Model)
    return model


def pictures(data: DataSpec, count: int = 6) -> Tensor:
    shape = (count, data.pictures.channels, data.pictures.height, data.pictures.width)
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


def call(graph: Graph, count: int) -> tuple[Tensor, ...]:
    draw = np.random.default_rng(0)
    inputs = []
    for port in graph.inputs:
        if port.prior is None:
            inputs.append(torch.from_numpy(draw_example(port, count, {}, draw)))
        else:
            inputs.append(torch.from_numpy(port.draw(count, draw)))
    with torch.no_grad():
        outputs = graph.function(*inputs)
    return outputs if isinstance(outputs, tuple) else (outputs,)


@DATA
@MODELS
def test_graphs_give_what_their_ports_promise(
    name: str, options: Mapping[str, str], data: DataSpec
) -> None:
    model = build(name, options, data).eval()
    for graph in model.graphs().values():
        outputs = call(graph, count=3)
        assert len(outputs) == len(graph.outputs)
        for port, output in zip(graph.outputs, outputs, strict=True):
            assert output.shape == (3, *port.shape[1:])
            assert output.isfinite().all()
            if port.range is not None:
                assert port.range[0] <= output.min() <= output.max() <= port.range[1]


@MODELS
def test_graphs_draw_nothing_at_random(name: str, options: Mapping[str, str]) -> None:
    for graph in build(name, options).eval().graphs().values():
        for once, again in zip(call(graph, count=2), call(graph, count=2), strict=True):
            assert torch.equal(once, again)


@DATA
@MODELS
def test_every_parameter_has_one_player_and_a_gradient(
    name: str, options: Mapping[str, str], data: DataSpec
) -> None:
    model = build(name, options, data)
    players = [player for player in model.players().values() if not player.shared]
    moved = [each for player in players for each in player.modules]
    owned = [id(parameter) for module in moved for parameter in module.parameters()]
    assert sorted(owned) == sorted(id(parameter) for parameter in model.parameters())
    for update in model.training_step({"image": pictures(data)}):
        torch.stack(list(update.terms.values())).sum().backward()
    still = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert still == []


@pytest.mark.parametrize(
    "name", ["ae", "conv-ae", "denoising-ae", "sparse-ae", "vae", "k-sparse-ae"]
)
def test_terms_are_float_32_under_bf16_autocast(name: str) -> None:
    model = build(name)

    def terms(*, bf16: bool) -> dict[str, Tensor]:
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            (update,) = model.training_step({"image": clothes(64)})
        return update.terms

    for name, value in terms(bf16=True).items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(terms(bf16=False)[name].item(), rel=0.02)


@pytest.mark.parametrize(
    ("name", "options", "share"),
    [
        ("ae", {"hidden": "100"}, 0.6),
        ("conv-ae", {"channels": "8,8"}, 0.3),
        ("denoising-ae", {"hidden": "", "code_size": "100"}, 0.6),
        ("sparse-ae", {"hidden_units": "100"}, 0.3),
        ("vae", {"hidden": "100"}, 0.7),
        ("k-sparse-ae", {"hidden_units": "100"}, 0.3),
        ("contractive-ae", {"hidden_units": "100"}, 0.7),
        ("wta-ae", {"hidden_units": "100"}, 0.5),
        ("hashing-ae", {"hidden": "100"}, 0.8),
        ("vq-vae", {"features": "16"}, 0.4),
    ],
)
def test_loss_falls_on_real_images(name: str, options: Mapping[str, str], share: float) -> None:
    losses = list(train(build(name, options), clothes(200), steps=80, batch_size=25))
    assert losses[-1] < share * losses[0]


@MODELS
def test_validation_gives_the_metric_that_picks_the_best(
    name: str, options: Mapping[str, str]
) -> None:
    model = build(name, options).eval()
    with torch.no_grad():
        metrics = model.validation_step({"image": clothes(20)})
    assert (model.goal is None) == (name == "adversarial-ae")  # reconstruction is half of its work
    assert model.goal is None or model.goal.metric in metrics
    assert all(value.ndim == 0 and value.isfinite() for value in metrics.values())


def test_what_has_a_prior_can_be_sampled() -> None:
    samplers = {
        card.name
        for card in zoo_autoencoders.zoo_models()
        if any(can_sample(graph.signature) for graph in build(card.name).graphs().values())
    }
    assert samplers == {"adversarial-ae", "vae"}


def test_cards_load_without_torch() -> None:
    code = (
        "import sys, zoo_autoencoders; zoo_autoencoders.zoo_models(); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
