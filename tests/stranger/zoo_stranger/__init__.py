"""Models that use the contract in unusual ways, data sets in the package, a kind of data."""

from __future__ import annotations

from pathlib import Path

import zoo


@zoo.hookimpl
def zoo_models() -> list[zoo.Card]:
    """Return the cards."""
    return [
        zoo.Card(
            name="three-players",
            summary="an autoencoder with a critic, and a prior that is learnt now and then",
            task="generation",
            model="zoo_stranger.three_players:ThreePlayers",
            paper=zoo.Paper(
                "Autoencoding beyond pixels using a learned similarity metric",
                "Larsen et al.",
                2016,
                "https://arxiv.org/abs/1512.09300",
            ),
            data="crosses",
            presets={"tiny": {"layers": "conv,linear", "epochs": 2}},
        ),
        zoo.Card(
            name="shared-encoder-ae",
            summary="an autoencoder whose codes are normally distributed, by a critic of them",
            task="generation",
            model="zoo_stranger.adversarial_ae:AdversarialAE",
            paper=zoo.Paper(
                "Adversarial Autoencoders",
                "Makhzani et al.",
                2015,
                "https://arxiv.org/abs/1511.05644",
            ),
            data="crosses",
        ),
        zoo.Card(
            name="restorer",
            summary="small grey pictures become large and coloured ones",
            task="restoration",
            model="zoo_stranger.restorer:Restorer",
            paper=zoo.Paper(
                "Learning a Deep Convolutional Network for Image Super-Resolution",
                "Dong et al.",
                2014,
                "https://arxiv.org/abs/1501.00092",
            ),
            data="crosses",
        ),
        zoo.Card(
            name="refiner",
            summary="noise becomes the mean picture, round after round",
            task="generation",
            model="zoo_stranger.refiner:Refiner",
            paper=zoo.Paper(
                "Bayesian Learning via Stochastic Gradient Langevin Dynamics",
                "Welling and Teh",
                2011,
                "https://www.stats.ox.ac.uk/~teh/research/compstats/WelTeh2011a.pdf",
            ),
            data="crosses",
        ),
        zoo.Card(
            name="smoother",
            summary="noise is taken from a picture, round after round",
            task="restoration",
            model="zoo_stranger.smoother:Smoother",
            paper=zoo.Paper(
                "The Little Engine that Could: Regularization by Denoising (RED)",
                "Romano, Elad and Milanfar",
                2017,
                "https://arxiv.org/abs/1611.02862",
            ),
            data="crosses",
        ),
        zoo.Card(
            name="teller",
            summary="goes on with a text, with the most likely symbol after each",
            task="continuation",
            model="zoo_stranger.teller:Teller",
            paper=zoo.Paper(
                "A Mathematical Theory of Communication",
                "Shannon",
                1948,
                "https://doi.org/10.1002/j.1538-7305.1948.tb01338.x",
            ),
            needs={"text": "text"},
            data="rhymes",
        ),
        zoo.Card(
            name="perceptual",
            summary="an autoencoder that a frozen network judges",
            task="reconstruction",
            model="zoo_stranger.perceptual:Perceptual",
            paper=zoo.Paper(
                "Deep Feature Consistent Variational Autoencoder",
                "Hou et al.",
                2016,
                "https://arxiv.org/abs/1610.00291",
            ),
            data="crosses",
            assets=(
                zoo.Asset(
                    network="features",
                    licence="CC0",
                    sha256="6b272c1164e37c9488004326a14e1b4edaf73144e433d8725fd94705e5d0172f",
                    path=Path(__file__).parent / "assets" / "features.safetensors",
                ),
            ),
        ),
        zoo.Card(
            name="linear-sounds",
            summary="sounds as sums of a few waveforms",
            task="generation",
            model="zoo_stranger.linear_sounds:LinearSounds",
            paper=zoo.Paper(
                "Neural networks and principal component analysis",
                "Baldi and Hornik",
                1989,
                "https://doi.org/10.1016/0893-6080(89)90014-2",
            ),
            needs={"audio": "audio"},
            data="tones",
        ),
        zoo.Card(
            name="pen-ae",
            summary="an autoencoder of drawings, a kind of data of the plugin's own",
            task="reconstruction",
            model="zoo_stranger.pen_ae:PenAE",
            paper=zoo.Paper(
                "Reducing the Dimensionality of Data with Neural Networks",
                "Hinton and Salakhutdinov",
                2006,
                "https://doi.org/10.1126/science.1127647",
            ),
            needs={"strokes": "strokes"},
            data="doodles",
        ),
    ]


@zoo.hookimpl
def zoo_datasets() -> list[zoo.Dataset]:
    """Return the data sets."""
    return [
        zoo.Dataset(
            name="crosses",
            summary="Upright and slanted crosses, 16x16",
            layout="npz",
            licence="CC0",
            size=(16, 16),
            channels=1,
            classes=("upright", "slanted"),
            embedded=Path(__file__).parent / "crosses",
        ),
        zoo.Dataset(
            name="tones",
            summary="Low and high tones of 64 ms, 8 kHz",
            layout="class-folders",
            licence="CC0",
            classes=("high", "low"),
            embedded=Path(__file__).parent / "tones",
        ),
        zoo.Dataset(
            name="rhymes",
            summary="Animals and things that see one another, in English",
            layout="text",
            licence="CC0",
            kind="text",
            embedded=Path(__file__).parent / "rhymes",
        ),
        zoo.Dataset(
            name="doodles",
            summary="Triangles, squares and plus signs, drawn with a pen",
            layout="class-folders",
            licence="CC0",
            embedded=Path(__file__).parent / "doodles",
        ),
    ]


@zoo.hookimpl
def zoo_modalities() -> list[zoo.Modality]:
    """Return the kind of data."""
    from zoo_stranger.strokes import Strokes

    return [Strokes()]
