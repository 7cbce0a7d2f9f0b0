"""Image-to-image translation for the zoo: the cards. Each model stands in a file of its own."""

from pathlib import Path

from zoo import Card, Dataset, Paper, hookimpl

CARDS = [
    Card(
        name="cyclegan",
        summary="CycleGAN: pictures of one kind to pictures of another, learnt without pairs",
        task="translation",
        model="zoo_translation.cyclegan:CycleGAN",
        paper=Paper(
            "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks",
            "Zhu et al.",
            2017,
            "https://arxiv.org/abs/1703.10593",
        ),
        needs={"a": "image", "b": "image"},
        data="emoji",
        presets={
            "tiny": {
                "size": 32,
                "features": 32,
                "blocks": 4,
                "patch_levels": 2,
                "skip": True,
                "enlarge": 1.0,
                "flip": False,
                "batch_size": 4,
                "epochs": 10,
                "ema": 0.995,
            },
            "small": {
                "size": 64,
                "features": 32,
                "blocks": 6,
                "patch_levels": 3,
                "batch_size": 1,
                "epochs": 10,
                "ema": 0.999,
            },
            "paper": {
                "size": 256,
                "features": 64,
                "blocks": 9,
                "patch_levels": 3,
                "batch_size": 1,
                "epochs": 200,
            },
        },
    ),
    Card(
        name="pix2pix",
        summary="pix2pix: pictures of one kind to pictures of another, learnt from pairs",
        task="translation",
        model="zoo_translation.pix2pix:Pix2Pix",
        paper=Paper(
            "Image-to-Image Translation with Conditional Adversarial Networks",
            "Isola et al.",
            2017,
            "https://arxiv.org/abs/1611.07004",
        ),
        needs={"a": "image", "b": "image"},
        data="openmoji",
        presets={
            "tiny": {
                "size": 64,
                "features": 24,
                "discriminator_features": 24,
                "patch_levels": 2,
                "lr": 5e-4,
                "batch_size": 8,
                "epochs": 8,
            },
            "small": {
                "size": 64,
                "features": 48,
                "discriminator_features": 48,
                "patch_levels": 2,
                "batch_size": 4,
                "epochs": 40,
            },
            "paper": {
                "size": 256,
                "features": 64,
                "discriminator_features": 64,
                "patch_levels": 3,
                "batch_size": 1,
                "epochs": 200,
            },
        },
    ),
    Card(
        name="colouriser",
        summary="colours for grey pictures, learnt from pictures in colour",
        task="restoration",
        model="zoo_translation.colouriser:Colouriser",
        paper=Paper(
            "Colorful Image Colorization",
            "Zhang et al.",
            2016,
            "https://arxiv.org/abs/1603.08511",
        ),
        data="emoji-mixed",
        presets={
            "tiny": {"size": 32, "features": 24, "batch_size": 16, "epochs": 20, "ema": 0.99},
            "small": {"size": 64, "features": 32, "batch_size": 16, "epochs": 20, "ema": 0.99},
            "adversarial": {
                "size": 32,
                "features": 24,
                "loss": "adversarial",
                "batch_size": 16,
                "epochs": 30,
                "ema": 0.99,
            },
        },
    ),
    Card(
        name="super-resolution",
        summary="SRResNet and SRGAN: small pictures enlarged two or four times",
        task="restoration",
        model="zoo_translation.super_resolution:SuperResolution",
        paper=Paper(
            "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network",
            "Ledig et al.",
            2017,
            "https://arxiv.org/abs/1609.04802",
        ),
        data="emoji-mixed",
        presets={
            "tiny": {"size": 32, "features": 24, "blocks": 4, "batch_size": 16, "epochs": 30},
            "small": {"size": 64, "features": 32, "blocks": 8, "batch_size": 16, "epochs": 30},
            "paper": {
                "size": 96,
                "factor": 4,
                "features": 64,
                "blocks": 16,
                "batch_norm": True,
                "loss": "mse",
                "adversarial": 1e-3,
                "discriminator_features": 64,
                "lr": 1e-4,
                "batch_size": 16,
                "epochs": 100,
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
            name="openmoji",
            summary="Emoji as line drawings and in colour: 1,632 + 224 pairs, 64x64",
            layout="paired-folders",
            licence="CC BY-SA 4.0 (© the OpenMoji contributors, openmoji.org)",
            size=(64, 64),
            domains=("line", "colour"),
            embedded=Path(__file__).parent / "openmoji",
        )
    ]
