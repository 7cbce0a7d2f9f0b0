"""Models of sequences for the zoo: the cards. Each model stands in a file of its own."""

from pathlib import Path

from zoo import Card, Dataset, Paper, hookimpl

CARDS = [
    Card(
        name="char-lstm",
        summary="LSTM: text, one character after the other",
        task="generation",
        model="zoo_sequences.char_lstm:CharLSTM",
        paper=Paper(
            "Generating Sequences With Recurrent Neural Networks",
            "Graves",
            2013,
            "https://arxiv.org/abs/1308.0850",
        ),
        needs={"text": "text"},
        data="tiny-shakespeare",
        presets={
            "tiny": {"length": 64, "hidden": 256, "epochs": 5, "batch_size": 32, "lr": 4e-3},
            "small": {
                "length": 128,
                "hidden": 384,
                "layers": 2,
                "dropout": 0.2,
                "epochs": 12,
                "batch_size": 32,
            },
            "paper": {
                "length": 50,
                "hidden": 512,
                "layers": 3,
                "dropout": 0.5,
                "epochs": 50,
                "batch_size": 50,
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
            name="tiny-shakespeare",
            summary="Plays by Shakespeare: 1.1 million symbols, 65 different ones",
            kind="text",
            layout="text",
            licence="public domain",
            embedded=Path(__file__).parent / "tiny-shakespeare",
        )
    ]
