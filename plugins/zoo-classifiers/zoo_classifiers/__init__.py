"""Classifiers for the zoo: the cards. Each model stands in a file of its own."""

from zoo import Card, Paper, hookimpl

CARDS = [
    Card(
        name="classifier",
        summary="convolutional classifier: the class of a picture, and features of it",
        task="classification",
        model="zoo_classifiers.classifier:Classifier",
        paper=Paper(
            "Gradient-Based Learning Applied to Document Recognition",
            "LeCun et al.",
            1998,
            "https://doi.org/10.1109/5.726791",
        ),
        needs={"image": "image", "label": "label"},
        presets={
            "digits": {"shift": 1, "dropout": 0.3, "epochs": 4, "batch_size": 128},
            "clothes": {
                "shift": 1,
                "flip": True,
                "dropout": 0.3,
                "epochs": 12,
                "batch_size": 128,
            },
        },
    ),
]


@hookimpl
def zoo_models() -> list[Card]:
    """Return the cards of this distribution."""
    return CARDS
