from __future__ import annotations

import numpy as np
import pytest
import torch
from zoo_autoencoders.vq_vae import VQVAE, Codebook, VQVAEConfig

from tests.plugins.plain_loop import clothes, train
from zoo import DataSpec
from zoo.options import configure

GREY = DataSpec.of_images("grey", channels=1, height=28, width=28)


def build(**options: object) -> VQVAE:
    torch.manual_seed(0)
    options = {"codebook_size": 16, "embedding_size": 4, "features": 8, **options}
    return VQVAE(configure(VQVAEConfig, options), GREY)


def test_the_nearest_code_is_that_of_a_search() -> None:
    book, z = Codebook(20, 3, gamma=0.9, restart=0.0), torch.randn(4, 5, 3)
    found = book(z)
    wanted = ((z[..., None, :] - book.vectors) ** 2).sum(dim=-1).argmin(dim=-1)
    assert found.shape == (4, 5)
    assert torch.equal(found, wanted)


def test_the_codebook_follows_as_in_a_loop_over_its_vectors() -> None:
    gamma = 0.9
    book = Codebook(6, 3, gamma=gamma, restart=0.0)
    counts, sums = np.ones(6), book.vectors.double().numpy().copy()
    for step in range(5):
        z = torch.randn(40, 3, generator=torch.Generator().manual_seed(step))
        codes = book(z)
        book.follow(z, codes)
        for code in range(6):
            mine = [row for row, own in zip(z.double().numpy(), codes, strict=True) if own == code]
            counts[code] = gamma * counts[code] + (1 - gamma) * len(mine)
            sums[code] = gamma * sums[code] + (1 - gamma) * sum(mine, np.zeros(3))
        np.testing.assert_allclose(book.counts, counts, rtol=1e-5)
        np.testing.assert_allclose(book.vectors, sums / counts[:, None], rtol=1e-4, atol=1e-5)


def test_codes_that_nobody_uses_begin_anew_at_vectors_that_are_far() -> None:
    book = Codebook(3, 2, gamma=0.5, restart=0.1)
    book.vectors.copy_(torch.tensor([[0.0, 0.0], [100.0, 100.0], [200.0, 200.0]]))
    book.sums.copy_(book.vectors)
    book.counts.copy_(torch.tensor([1.0, 0.01, 1.0]))
    z = torch.tensor([[0.1, 0.0], [9.0, 9.0], [0.0, 0.1]])
    book.follow(z, book(z))
    assert torch.equal(book.vectors[1], z[0])  # the second farthest; the farthest is for code 0
    assert book.counts.tolist() == [2.0, 1.0, 0.5]


def test_terms_are_the_equation() -> None:
    model, image = build(beta=0.5), clothes(6)
    vectors = model.codebook.vectors.clone()
    (update,) = model.training_step({"image": image})
    with torch.no_grad():
        z = model.vectors_of(image).flatten(0, 2)
        e = vectors[((z[:, None] - vectors) ** 2).sum(dim=2).argmin(dim=1)]
        output = model.picture_of(e.view(6, 7, 7, 4))
    commitment = 0.5 * ((z - e) ** 2).sum(dim=1).mean()
    error = (((image + 1) / 2 - output) ** 2).sum() / 6
    assert update.terms["commitment"].item() == pytest.approx(commitment.item(), rel=1e-4)
    assert update.terms["reconstruction"].item() == pytest.approx(error.item(), rel=1e-4)


def test_the_gradient_goes_straight_through_the_codes() -> None:
    """That of the reconstruction by z_e is the one by z_q, and nothing reaches the codebook."""
    model, image = build(), clothes(4)
    with torch.no_grad():
        codes = model.codebook(model.vectors_of(image))
        quantised = model.codebook.vectors[codes]
    given: list[torch.Tensor] = []
    model.encoder.register_forward_hook(lambda _, __, z: given.append(z))
    (update,) = model.training_step({"image": image})
    (found,) = torch.autograd.grad(update.terms["reconstruction"], given[0])
    quantised.requires_grad_()
    error = ((image + 1) / 2 - model.picture_of(quantised)) ** 2
    (wanted,) = torch.autograd.grad(error.flatten(1).sum(dim=1).mean(), quantised)
    torch.testing.assert_close(found.permute(0, 2, 3, 1), wanted)
    assert wanted.any()
    assert not model.codebook.vectors.requires_grad


def test_codes_are_decoded_to_the_reconstruction() -> None:
    model = build().eval()
    with torch.no_grad():
        codes = model.encode(clothes(3))
        assert codes.dtype == torch.int64
        assert codes.shape == (3, 7, 7)
        assert torch.equal(model.decode(codes), model.reconstruct(clothes(3)))


def test_perplexity_is_that_of_the_shares_of_codes() -> None:
    model = build().eval()
    with torch.no_grad():
        metrics = model.validation_step({"image": clothes(20)})
        codes = model.encode(clothes(20)).numpy()
    shares = np.bincount(codes.ravel(), minlength=16) / codes.size
    entropy = -sum(each * np.log(each) for each in shares if each)
    assert metrics["perplexity"].item() == pytest.approx(np.exp(entropy), rel=1e-4)
    assert metrics["codes_used"].item() == pytest.approx((shares > 0).mean())


def test_training_uses_the_codebook() -> None:
    model = build(codebook_size=32, gamma=0.9)
    list(train(model, clothes(200), steps=120, batch_size=25))
    with torch.no_grad():
        assert model.eval().validation_step({"image": clothes(200)})["codes_used"] > 0.8


def test_what_the_averages_remember_is_no_part_of_the_weights() -> None:
    assert {name for name in build().state_dict() if name.startswith("codebook")} == {
        "codebook.vectors"
    }
