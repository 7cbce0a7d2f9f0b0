"""`zoo eval`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo.cli import arguments
from zoo.cli.output import print_json, print_table
from zoo.evaluation.measurement import FAMILIES, IMPORTANCE_SAMPLES
from zoo.messages import say

if TYPE_CHECKING:
    from zoo.evaluation.classes import SampleReport
    from zoo.evaluation.pairs import Translation
    from zoo.measurements import Measurement
    from zoo.ports import Fit

SAMPLES = 1000


@click.command("eval")
@arguments.target_argument
@arguments.data_option("Data to measure on [what the run was trained on].")
@arguments.fit_option()
@click.option("--split", type=arguments.SuggestingChoice(["train", "validation", "test"]),
              help="Which images [test, where the data has them, else validation].")  # fmt: skip
@click.option("--metrics", "families", multiple=True,
              type=arguments.SuggestingChoice([*FAMILIES]),
              help="Measure only these [all that apply].")  # fmt: skip
@click.option("--samples", type=click.IntRange(10, 100_000), metavar="N",
              help=f"Compare N samples with real pictures [{SAMPLES:,}, where no metric of the "
              "model says how good it is].")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1, 100), default=1, metavar="N",
              help="Measure samples of N seeds, and tell the spread [1].")  # fmt: skip
@click.option("--importance-samples", type=click.IntRange(1, 10_000),
              default=IMPORTANCE_SAMPLES, metavar="K",
              help=f"Of the bound of log p(x) [{IMPORTANCE_SAMPLES}].")  # fmt: skip
@click.option("--binarise", "--binarize", is_flag=True,
              help="Measure on pixels drawn black or white, once.")  # fmt: skip
@click.option("--nearest", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png",
              help="Write samples above the training pictures nearest to them.")  # fmt: skip
@click.option("--extractor", metavar="TARGET", shell_complete=arguments.complete_targets,
              help="A run, file or published weights of a model that classifies samples "
              "[published ones, trained on such data].")  # fmt: skip
@arguments.json_option
def verb(
    target: str,
    data: str | None,
    fit: Fit | None,
    split: str | None,
    families: tuple[str, ...],
    samples: int | None,
    seeds: int,
    importance_samples: int,
    binarise: bool,
    nearest: Path | None,
    extractor: str | None,
    as_json: bool,
) -> None:
    """Measure TARGET on images that it has not seen.

    With the model's own metrics, where it has some, and with those that apply to what it does:
    reconstruction, code, likelihood, samples, translation. Each number has the interval that it
    stays in when it is measured again, and its protocol: what another number must share to be
    compared with it. Samples are classified, and compared with real pictures in features, by a
    model that was trained on labelled data: published weights, or those of --extractor.
    """
    from zoo.api.evaluate import evaluate
    from zoo.modalities import modality_of

    found = evaluate(
        target, data=data, fit=fit, split=split, metrics=families, samples=samples, seeds=seeds,
        importance_samples=importance_samples, binarise=binarise, extractor=extractor,
        nearest=nearest,
    )  # fmt: skip
    if nearest is not None:
        say(f"written to {click.format_filename(nearest)}")
    model, name, chosen = found.model, found.data.name, found.split
    if as_json:
        print_json({
            "model": model, "step": found.step, "data": name, "split": chosen,
            "images": found.items, "metrics": found.metrics,
            "measurements": [asdict(each) for each in found.measurements],
            "pairs": [way.to_json() for way in found.pairs],
            "classes": found.classes.to_json() if found.classes else None,
        })  # fmt: skip
        return
    first = found.data.ports[0]
    items = "images" if first.is_picture else modality_of(first).items
    if found.metrics:
        _print_metrics(found.metrics, f"{found.items:,} {items} of {name}, {chosen} split")
    if found.measurements:
        _print_measurements(found.measurements, f"{name}, {chosen} split")
    if found.pairs:
        _print_pairs(found.pairs, f"{found.pairs[0].pairs:,} pairs of {name}, {chosen} split")
    if found.classes:
        _print_classes(found.classes, model, name)


def _print_measurements(measurements: Sequence[Measurement], heading: str) -> None:
    """Print a table of numbers with their spread, and under it the protocols."""
    click.echo(f"measured by zoo on {heading}")
    print_table(
        ["metric", "graph", "value", "spread", "better"],
        [
            (each.name, each.graph, f"{each.value:.4g} {each.unit}".strip(),
             f"{each.spread.low:.4g} to {each.spread.high:.4g}" if each.spread else "-",
             each.better)
            for each in measurements
        ],
    )  # fmt: skip
    kinds = {each.spread.of for each in measurements if each.spread}
    if "bootstrap" in kinds:
        click.echo("spread: 95 % of the means of resampled images (bootstrap)")
    if "seeds" in kinds:
        click.echo("spread of samples: least and greatest of all seeds")
    protocols: dict[str, dict[str, None]] = {}
    for each in measurements:
        words = "; ".join(f"{key.replace('_', ' ')} {_plain(value)}"
                          for key, value in each.protocol.items())  # fmt: skip
        protocols.setdefault(words, {})[each.name] = None
    for words, names in protocols.items():
        if words:
            click.echo(f"{', '.join(names)}: {words}")


def _plain(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


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
        f"{samples.images:,} samples of {model}, classified by an extractor that is right on "
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
        f"recognisable: the extractor gives its class a probability of at least {CONFIDENT:.0%}"
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
