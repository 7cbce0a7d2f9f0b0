"""`zoo eval`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from zoo.cli import arguments
from zoo.cli.output import print_json, print_table, say
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.evaluation.classes import SampleReport
    from zoo.evaluation.metrics import Translation
    from zoo.ports import Fit

SAMPLES = 1000


@click.command("eval")
@arguments.target_argument
@arguments.data_option("Data to measure on [what the run was trained on].")
@arguments.fit_option()
@click.option("--split", type=arguments.SuggestingChoice(["train", "validation", "test"]),
              help="Which images [test, where the data has them, else validation].")  # fmt: skip
@click.option("--samples", type=click.IntRange(10, 100_000), metavar="N",
              help=f"Classify N samples by a classifier of the data [{SAMPLES:,}, where no "
              "metric of the model says how good it is].")  # fmt: skip
@arguments.json_option
def verb(
    target: str,
    data: str | None,
    fit: Fit | None,
    split: str | None,
    samples: int | None,
    as_json: bool,
) -> None:
    """Measure TARGET on images that it has not seen.

    With the model's own metrics, where it has some. A model that translates between two domains is
    compared with the true partners, where the data knows them. The samples of a model are
    classified by a classifier of labelled data, which is trained the first time, and kept.
    """
    trained = arguments.load_target(target, data)
    from zoo.evaluation.classes import classify_samples
    from zoo.evaluation.metrics import measure_pairs, needs_classifier, validation_metrics
    from zoo.modalities import modality_of

    source = arguments.source_for(trained, data)
    store, chosen = arguments.open_held_out(trained, source, fit, split)
    metrics, images = validation_metrics(trained, store, chosen)
    pairs = measure_pairs(trained.model, store, chosen)
    if samples is None and needs_classifier(trained, store, chosen):
        samples = SAMPLES
    classes = classify_samples(trained, store, chosen, samples, say) if samples else None
    model, name = trained.identity.model, store.spec.name
    if not (metrics or pairs or classes):
        raise UsageError(
            f"nothing can be measured of {model} on {name}",
            cause="it declares no metrics; samples are classified on labelled data, "
            "translations compared on a split whose true pairs are known",
            hint="--data NAME|PATH with labels or pairs; zoo data check says what a folder holds",
            code="does-not-apply",
        )
    if as_json:
        print_json({
            "model": model, "data": name, "split": chosen, "images": images, "metrics": metrics,
            "pairs": [way.to_json() for way in pairs],
            "classes": classes.to_json() if classes else None,
        })  # fmt: skip
        return
    if metrics:
        first = store.spec.ports[0]
        items = "images" if first.is_picture else modality_of(first).items
        _print_metrics(metrics, f"{images:,} {items} of {name}, {chosen} split")
    if pairs:
        _print_pairs(pairs, f"{pairs[0].pairs:,} pairs of {name}, {chosen} split")
    if classes:
        _print_classes(classes, model, name)


def _print_metrics(metrics: Mapping[str, float], heading: str) -> None:
    click.echo(heading)
    width = max(16, *map(len, metrics))
    for name, value in metrics.items():
        click.echo(f"{name:<{width}} {value:.4f}")


def _print_pairs(ways: Sequence[Translation], heading: str) -> None:
    click.echo(heading)
    print_table(
        ["from", "to", "error", "error copying", "ratio", "nearest", "nearest copying"],
        [
            (way.source, way.target, f"{way.error:.4f}", f"{way.copying:.4f}",
             "-" if way.ratio is None else f"{way.ratio:.3f}",
             _percent(way.nearest), _percent(way.nearest_copying))
            for way in ways
        ],
    )  # fmt: skip
    click.echo("error: mean absolute difference from the true partner, pixels in [0, 1]")
    click.echo("nearest: how often no other partner is nearer; copying: the input as it is")


def _print_classes(classes: SampleReport, model: str, data: str) -> None:
    from zoo.evaluation.classes import CONFIDENT, MIN_COMPARED, MIN_DIVERSITY, MIN_SHARE

    samples, real = classes.samples, classes.real
    click.echo(
        f"{samples.images:,} samples of {model}, classified by a classifier that is right on "
        f"{real.right_of_all:.1%} of {real.images:,} {classes.split} images of {data}"
    )
    right = samples.right or (None,) * len(classes.names)
    rows = [
        (name, _percent(samples.classified[number]), _percent(samples.recognisable[number]),
         _percent(right[number]), _percent(samples.diversity[number]),
         "yes" if samples.found[number] else "no")
        for number, name in enumerate(classes.names)
    ]  # fmt: skip
    for title, report in (("all samples", samples), (f"{classes.split} images", real)):
        rows.append(
            (title, _percent(1.0), _percent(sum(report.recognisable)),
             _percent(report.right_of_all), _percent(report.mean_diversity),
             f"{sum(report.found)} of {len(report.found)}")
        )  # fmt: skip
    print_table(["class", "classified as", "recognisable", "as asked", "diversity", "found"], rows)
    least = MIN_SHARE / len(classes.names)
    click.echo(
        f"recognisable: the classifier gives its class a probability of at least {CONFIDENT:.0%}"
    )
    click.echo("diversity: how much its samples differ; one picture 0%, real images 100%")
    if None in samples.diversity:
        click.echo(f"diversity -: fewer than {MIN_COMPARED} samples, or too few real images")
    click.echo(
        f"found: recognisable samples of the class are at least {least:.1%} of all, and their "
        f"diversity at least {MIN_DIVERSITY:.0%}"
    )


def _percent(share: float | None) -> str:
    return "     -" if share is None else f"{share:6.1%}"
