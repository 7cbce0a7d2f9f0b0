"""Adversarial networks for the zoo: the cards. Each model stands in a file of its own."""

from pathlib import Path

from zoo import Card, Dataset, Paper, hookimpl

CARDS = [
    Card(
        name="gan",
        summary="the first GAN, fully connected; shows gradients vanish under minimax",
        task="generation",
        model="zoo_gans.gan:GAN",
        paper=Paper(
            "Generative Adversarial Networks",
            "Goodfellow et al.",
            2014,
            "https://arxiv.org/abs/1406.2661",
        ),
        presets={
            "tiny": {"epochs": 60, "batch_size": 64, "ema": 0.999},
            "small": {"epochs": 60, "batch_size": 128, "ema": 0.999},
            "paper": {"latent_size": 100, "hidden": (1200, 1200), "batch_size": 100},
        },
    ),
    Card(
        name="dcgan",
        summary="deep convolutional GAN: strides instead of pooling, batch normalisation",
        task="generation",
        model="zoo_gans.dcgan:DCGAN",
        paper=Paper(
            "Unsupervised Representation Learning with Deep Convolutional "
            "Generative Adversarial Networks",
            "Radford et al.",
            2015,
            "https://arxiv.org/abs/1511.06434",
        ),
        presets={
            "tiny": {"size": 32, "features": 32, "epochs": 40, "batch_size": 64},
            "small": {
                "size": 32,
                "features": 64,
                "spectral_norm": True,
                "epochs": 6,
                "batch_size": 64,
                "ema": 0.999,
            },
            "paper": {
                "size": 64,
                "features": 128,
                "latent_size": 100,
                "batch_size": 128,
                "lr": 2e-4,
            },
        },
    ),
    Card(
        name="cgan",
        summary="conditional GAN: draws the class that it is asked for",
        task="generation",
        model="zoo_gans.cgan:ConditionalGAN",
        paper=Paper(
            "Conditional Generative Adversarial Nets",
            "Mirza & Osindero",
            2014,
            "https://arxiv.org/abs/1411.1784",
        ),
        needs={"image": "image", "label": "label"},
        presets={
            "tiny": {"size": 32, "features": 32, "epochs": 40, "batch_size": 64},
            "small": {
                "size": 32,
                "features": 64,
                "epochs": 3,
                "batch_size": 64,
                "ema": 0.999,
            },
            "paper": {"latent_size": 100, "batch_size": 100},
        },
    ),
    Card(
        name="wgan-gp",
        summary="Wasserstein GAN with gradient penalty: a loss that says how far it still is",
        task="generation",
        model="zoo_gans.wgan_gp:WGANGP",
        paper=Paper(
            "Improved Training of Wasserstein GANs",
            "Gulrajani et al.",
            2017,
            "https://arxiv.org/abs/1704.00028",
        ),
        presets={
            "tiny": {
                "size": 32,
                "features": 32,
                "lr": 3e-4,
                "epochs": 40,
                "batch_size": 160,
            },
            "small": {"size": 32, "features": 64, "epochs": 20, "batch_size": 320},
            "paper": {
                "size": 64,
                "features": 64,
                "latent_size": 128,
                "critic_steps": 5,
                "batch_size": 320,
                "lr": 1e-4,
            },
        },
    ),
    Card(
        name="wavegan",
        summary="WaveGAN: sounds from noise, with a Wasserstein critic that shifts what it hears",
        task="generation",
        model="zoo_gans.wavegan:WaveGAN",
        paper=Paper(
            "Adversarial Audio Synthesis",
            "Donahue et al.",
            2019,
            "https://arxiv.org/abs/1802.04208",
        ),
        needs={"audio": "audio"},
        data="spoken-two",
        presets={
            "tiny": {
                "length": 4096,
                "features": 16,
                "lr": 1e-3,
                "epochs": 360,
                "batch_size": 80,
                "ema": 0.98,
            },
            "small": {
                "length": 4096,
                "features": 32,
                "lr": 5e-4,
                "epochs": 1000,
                "batch_size": 80,
                "ema": 0.99,
            },
            "paper": {
                "length": 16384,
                "features": 64,
                "lr": 1e-4,
                "epochs": 10000,
                "batch_size": 320,
            },
        },
    ),
]


@hookimpl
def zoo_models() -> list[Card]:
    """Return the cards of this distribution."""
    return CARDS


@hookimpl
def zoo_datasets() -> list[Dataset]:
    """Return the data set of this distribution."""
    return [
        Dataset(
            name="spoken-two",
            summary="The spoken digit two: 270 + 30 recordings of six speakers, 8 kHz",
            kind="audio",
            layout="folder",
            licence="CC BY-SA 4.0 (Free Spoken Digit Dataset © Z. Jackson et al.)",
            channels=1,
            embedded=Path(__file__).parent / "spoken-two",
        )
    ]
