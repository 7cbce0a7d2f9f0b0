"""Image-to-image translation for the zoo: the cards. Each model stands in a file of its own."""

from zoo import Card, Paper, hookimpl

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
]


@hookimpl
def zoo_models() -> list[Card]:
    """Return the cards of this distribution."""
    return CARDS
