"""Batches: bounded, in order, and of one row where the graph takes only that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from onnx import helper
from PIL import Image

from tests.runtime.graphs import decoder, describe, negative, save
from zoo.pictures import BadPictureError
from zoo.ports import DataSpec, Port
from zoo.runtime.inputs import InputFile, prepare_feed
from zoo.runtime.outputs import OnSkip, run_batches
from zoo.runtime.session import open_session


def refuse() -> OnSkip:
    def report(problem: BadPictureError) -> None:
        raise problem

    return report


def test_small_pictures_go_in_many_at_once_and_large_ones_in_few(tmp_path: Path) -> None:
    for size, most in ((8, 64), (256, 5), (2048, 1)):
        path = negative(tmp_path / "x.onnx", DataSpec.of_images("photos", 3, size, size))
        folder = tmp_path / str(size)
        folder.mkdir()
        for index in range(most + 2):
            Image.new("L", (8, 8), index).save(folder / f"{index:02}.png")
        session = open_session(path)
        results = list(run_batches(session, prepare_feed(session, [InputFile(folder)]), refuse()))
        assert len(results[0].names) == most
        names = [name for result in results for name in result.names]
        assert names == [f"{index:02}" for index in range(most + 2)]


def test_draws_are_those_of_the_seed_whatever_the_batches(tmp_path: Path) -> None:
    session = open_session(decoder(tmp_path / "decode.onnx"))
    results = list(run_batches(session, prepare_feed(session, [], count=130, seed=5), refuse()))
    assert [len(result.names) for result in results] == [64, 64, 2]
    latent = np.random.default_rng(5).standard_normal((130, 20)).astype(np.float32)
    whole = session.run({"latent": latent})["image"]
    parts = np.concatenate([result.outputs["image"] for result in results])
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def test_a_batch_has_as_many_rows_as_are_asked_for(tmp_path: Path) -> None:
    session = open_session(decoder(tmp_path / "decode.onnx"))
    feed = prepare_feed(session, [], count=12)
    parts = [result.names for result in run_batches(session, feed, refuse(), 5)]
    assert [len(names) for names in parts] == [5, 5, 2]
    negated = open_session(negative(tmp_path / "negative.onnx"))
    for index in range(5):
        Image.new("L", (8, 8), index).save(tmp_path / f"{index}.png")
    pictures = prepare_feed(negated, [InputFile(tmp_path)])
    parts = [result.names for result in run_batches(negated, pictures, refuse(), 2)]
    assert parts == [("0", "1"), ("2", "3"), ("4",)]


def test_a_graph_for_one_row_gets_one_row(tmp_path: Path) -> None:
    latent = replace(Port.latent("latent", 20), shape=(1, 20))
    described = describe("one", [latent], [replace(latent, name="value", prior=None)])
    path = save(tmp_path / "one.onnx", described, [helper.make_node("Neg", ["latent"], ["value"])])
    session = open_session(path)
    results = list(run_batches(session, prepare_feed(session, [], count=3), refuse()))
    assert [result.names for result in results] == [("1",), ("2",), ("3",)]
