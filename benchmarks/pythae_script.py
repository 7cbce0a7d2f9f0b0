"""The convolutional VAE for MNIST of pythae, trained by its own trainer: a process of peers.

It runs in an environment that has pythae, by its path, and imports neither zoo nor the other
benchmarks. Each line of stdin is answered with the seconds of one pass of the trainer over as many
pictures as the third argument says.
"""

from __future__ import annotations

import gzip
import logging
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.nn.benchmarks.mnist import Decoder_Conv_AE_MNIST, Encoder_Conv_VAE_MNIST
from pythae.trainers import BaseTrainer, BaseTrainerConfig

LATENT = 16


def trainer_of(folder: Path, batch: int, images: int, output: str) -> BaseTrainer:
    """Return pythae's trainer of the model on the first pictures of MNIST, ready to begin."""
    path = next(folder.glob("train-images*idx3-ubyte*"))
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    pixels = np.frombuffer(content, np.uint8, offset=16).reshape(-1, 1, 28, 28)[:images]
    data = BaseDataset(torch.from_numpy(pixels.copy()).float() / 255, torch.zeros(len(pixels)))
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT)
    model = VAE(config, Encoder_Conv_VAE_MNIST(config), Decoder_Conv_AE_MNIST(config))
    settings = BaseTrainerConfig(
        output_dir=output, per_device_train_batch_size=batch, learning_rate=1e-4, num_epochs=1
    )
    trainer = BaseTrainer(model, data, training_config=settings)
    trainer.prepare_training()
    return trainer


def main() -> None:
    """Train a pass for each line of stdin; print its seconds."""
    logging.disable()
    folder, batch, images = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    with tempfile.TemporaryDirectory() as output:
        trainer = trainer_of(folder, batch, images, output)
        for epoch, _ in enumerate(sys.stdin, 1):
            began = time.perf_counter()
            trainer.train_step(epoch)
            print(time.perf_counter() - began, flush=True)
            trainer.callback_handler.on_epoch_end(training_config=trainer.training_config)


if __name__ == "__main__":
    main()
