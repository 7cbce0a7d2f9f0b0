"""Diffusion models for the zoo: the cards. Each model stands in a file of its own."""

from zoo import Card, Paper, hookimpl

CARDS = [
    Card(
        name="ddpm",
        summary="denoising diffusion: images out of noise, in many small steps",
        task="generation",
        model="zoo_diffusion.ddpm:DDPM",
        paper=Paper(
            "Denoising Diffusion Probabilistic Models",
            "Ho et al.",
            2020,
            "https://arxiv.org/abs/2006.11239",
        ),
        presets={
            "tiny": {
                "features": 32,
                "multiples": (1, 2),
                "blocks": 1,
                "patch": 2,
                "dropout": 0.0,
                "sampling_steps": 25,
                "lr": 1e-3,
                "epochs": 24,
                "batch_size": 64,
                "ema": 0.995,
            },
            "small": {
                "features": 64,
                "multiples": (1, 2),
                "blocks": 1,
                "patch": 2,
                "dropout": 0.0,
                "lr": 5e-4,
                "epochs": 6,
                "batch_size": 64,
                "ema": 0.999,
            },
            "paper": {
                "size": 32,
                "features": 128,
                "multiples": (1, 2, 2, 2),
                "sampling_steps": 1000,
                "epochs": 2048,
                "batch_size": 128,
                "ema": 0.9999,
            },
        },
    ),
]


@hookimpl
def zoo_models() -> list[Card]:
    """Return the cards of this distribution."""
    return CARDS
