"""Autoencoders for the zoo: the cards. Each model stands in a file of its own."""

from zoo import Card, Paper, hookimpl

CARDS = [
    Card(
        name="adversarial-ae",
        summary="adversarial autoencoder: codes that fool a discriminator follow a prior",
        task="generation",
        model="zoo_autoencoders.adversarial_ae:AdversarialAutoencoder",
        paper=Paper(
            "Adversarial Autoencoders",
            "Makhzani et al.",
            2015,
            "https://arxiv.org/abs/1511.05644",
        ),
        presets={
            "tiny": {"hidden": (256, 256), "epochs": 30},
            "plane": {"latent_size": 2, "posterior": "gaussian"},
            "classes": {"latent_size": 2, "prior": "mixture"},
            "paper": {"latent_size": 8, "hidden": (1000, 1000), "batch_size": 100},
        },
    ),
    Card(
        name="ae",
        summary="deep autoencoder: images through a short code and back",
        task="reconstruction",
        model="zoo_autoencoders.ae:Autoencoder",
        paper=Paper(
            "Reducing the Dimensionality of Data with Neural Networks",
            "Hinton & Salakhutdinov",
            2006,
            "https://doi.org/10.1126/science.1127647",
        ),
    ),
    Card(
        name="contractive-ae",
        summary="contractive autoencoder: a code that few changes of the image move",
        task="reconstruction",
        model="zoo_autoencoders.contractive_ae:ContractiveAutoencoder",
        paper=Paper(
            "Contractive Auto-Encoders: Explicit Invariance During Feature Extraction",
            "Rifai et al.",
            2011,
            "https://icml.cc/2011/papers/455_icmlpaper.pdf",
        ),
        presets={
            "tiny": {"hidden_units": 128, "epochs": 20},
            "deep": {"hidden": (256,), "hidden_units": 64},
        },
    ),
    Card(
        name="conv-ae",
        summary="convolutional autoencoder: pooling or strides, and the way back",
        task="reconstruction",
        model="zoo_autoencoders.conv_ae:ConvAutoencoder",
        paper=Paper(
            "Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction",
            "Masci et al.",
            2011,
            "https://doi.org/10.1007/978-3-642-21735-7_7",
        ),
    ),
    Card(
        name="denoising-ae",
        summary="denoising autoencoder: noisy images in, clean ones out",
        task="reconstruction",
        model="zoo_autoencoders.denoising_ae:DenoisingAutoencoder",
        paper=Paper(
            "Extracting and Composing Robust Features with Denoising Autoencoders",
            "Vincent et al.",
            2008,
            "https://doi.org/10.1145/1390156.1390294",
        ),
    ),
    Card(
        name="hashing-ae",
        summary="semantic hashing: a code of bits, to search pictures by",
        task="reconstruction",
        model="zoo_autoencoders.hashing_ae:HashingAutoencoder",
        paper=Paper(
            "Semantic hashing",
            "Salakhutdinov & Hinton",
            2009,
            "https://doi.org/10.1016/j.ijar.2008.11.006",
        ),
        presets={
            "tiny": {"hidden": (256,), "epochs": 20},
            "long": {"bits": 256, "hidden": (1024, 512)},
        },
    ),
    Card(
        name="k-sparse-ae",
        summary="k-sparse autoencoder: the k greatest of many linear units",
        task="reconstruction",
        model="zoo_autoencoders.k_sparse_ae:KSparseAutoencoder",
        paper=Paper(
            "k-Sparse Autoencoders",
            "Makhzani & Frey",
            2014,
            "https://arxiv.org/abs/1312.5663",
        ),
        presets={
            "tiny": {"hidden_units": 256, "k": 15, "k_start": 60, "epochs": 20},
            "paper": {"hidden_units": 1000, "k": 25, "k_start": 100, "alpha": 3.0},
        },
    ),
    Card(
        name="sparse-ae",
        summary="sparse autoencoder: few active units out of many",
        task="reconstruction",
        model="zoo_autoencoders.sparse_ae:SparseAutoencoder",
        paper=Paper(
            "CS294A Lecture Notes: Sparse Autoencoder",
            "Ng",
            2011,
            "https://web.stanford.edu/class/cs294a/sparseAutoencoder_2011new.pdf",
        ),
    ),
    Card(
        name="vae",
        summary="variational autoencoder: a code that can be sampled",
        task="generation",
        model="zoo_autoencoders.vae:VAE",
        paper=Paper(
            "Auto-Encoding Variational Bayes",
            "Kingma & Welling",
            2014,
            "https://arxiv.org/abs/1312.6114",
        ),
    ),
    Card(
        name="vq-vae",
        summary="vector-quantised VAE: a map of codes out of a book that is learnt",
        task="reconstruction",
        model="zoo_autoencoders.vq_vae:VQVAE",
        paper=Paper(
            "Neural Discrete Representation Learning",
            "van den Oord et al.",
            2017,
            "https://arxiv.org/abs/1711.00937",
        ),
        presets={
            "tiny": {"codebook_size": 64, "features": 16, "residual_blocks": 1, "epochs": 15},
            "paper": {
                "codebook_size": 512,
                "embedding_size": 64,
                "features": 256,
                "batch_size": 128,
                "restart": 0.0,
                "lr": 2e-4,
            },
        },
    ),
    Card(
        name="wta-ae",
        summary="winner-take-all autoencoder: each unit wins for a share of the images",
        task="reconstruction",
        model="zoo_autoencoders.wta_ae:WinnerTakeAllAutoencoder",
        paper=Paper(
            "Winner-Take-All Autoencoders",
            "Makhzani & Frey",
            2015,
            "https://arxiv.org/abs/1409.2752",
        ),
        presets={
            "tiny": {"hidden_units": 256, "epochs": 20},
            "convolutional": {"network": "convolutional", "features": 16, "epochs": 20},
        },
    ),
]


@hookimpl
def zoo_models() -> list[Card]:
    """Return the cards of this distribution."""
    return CARDS
