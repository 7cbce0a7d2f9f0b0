"""What flows in and out of a model: the data it learns from and the ports of its graphs.

Ports are all that the sampler, the exporter and `zoo run` know of a model, so they say everything
that a stranger needs: kind, shape, dtype, range and, for what can be drawn, the prior.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from zoo.validation import are_names, is_integer, is_number, is_range, is_shape, is_word, require

if TYPE_CHECKING:
    import numpy as np

Prior = Literal["normal", "uniform", "zeros"]
DType = Literal["float32", "int64", "uint8"]
Fit = Literal["cover", "contain", "stretch"]
Layout = Literal["NCHW", "NHWC"]

FITS: tuple[Fit, ...] = get_args(Fit)

MAX_NUMBERS = 2**26  # in one row, which is a picture of about 4,700 × 4,700 in colour
MAX_RATE = 10**7  # hertz
MAX_ROUNDS = 10**6
MOST_SAMPLES = 10_000  # that somebody may ask for at once

# Dimensions of the ports of a kind behind the batch; those of another kind are free.
DIMENSIONS: Mapping[str, tuple[str, ...]] = {
    "image": ("channels", "height", "width"),
    "audio": ("channels", "length"),
    "volume": ("channels", "depth", "height", "width"),
}
RATED = frozenset({"audio"})  # kinds whose numbers are a signal in time, of so many a second
PICTORIAL = frozenset({"image"})  # kinds whose rows are pictures
NAMED = frozenset({"label"})  # kinds whose numbers are classes, which are asked for by name
CODED = frozenset({"latent"})  # kinds whose rows are codes of a model
# What the names in `Port.classes` are called where they are no classes, by kind.
CLASSES_ARE: Mapping[str, str] = {"text": "symbols", "values": "columns"}


def slugify(name: str) -> str:
    """Return a name as a part of file names: small letters without accents, digits, hyphens."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:40]


@dataclass(frozen=True)
class Port:
    """One typed input or output of a graph.

    Args:
        name: name of the tensor in the graph.
        kind: what the numbers are: one of `zoo.modalities`, or ``latent``, or a plugin's own word.
        shape: dimensions, batch first; a word is a dimension that may vary.
        dtype: type of the numbers.
        range: smallest and greatest value, both included, or None where unbounded.
        prior: distribution that an input may be drawn from: standard normal, uniform over `range`,
            or zeros; None for what somebody must supply.
        classes: names of a label's classes, the symbols of text, or the columns of a table.
        domain: which of the data's two domains the images are of; empty where there is one.
        layout: order of an image's dimensions: channels before height and width, or after.
        rate: samples a second of sound, in hertz; None for other numbers.
        tolerance: greatest absolute difference between the exported graph and the model.
        order: of a port of data: rows of ports with the same number belong together, as an image
            and its label do; two unpaired domains have two orders.
        fit: of images of data: how pictures of other proportions were brought to the size.
        value_range: of images of data: the values in the files that became black and white, where
            they have more than 8 bits; None where they are bytes.
        default: number that fills an input which nobody supplies, such as a temperature.
        next: of an input, the output that is this input in the next round. A graph with such a
            port is one step of a loop; in the first round it is drawn, the default, or data.

    Attributes:
        colours: of an image, ``"grey"`` or ``"RGB"`` by its channels; empty for other numbers.
    """

    name: str
    kind: str
    shape: tuple[int | str, ...]
    dtype: DType = "float32"
    range: tuple[float, float] | None = None
    prior: Prior | None = None
    classes: tuple[str, ...] = ()
    domain: str = ""
    layout: Layout = "NCHW"
    rate: int | None = None
    tolerance: float = 1e-4
    order: int = 0
    fit: Fit = "cover"
    value_range: tuple[float, float] | None = None
    default: float | None = None
    next: str = ""
    colours: str = field(default="", init=False)

    def __post_init__(self) -> None:
        require(isinstance(self.name, str) and self.name.isidentifier(), "port name")
        require(is_word(self.kind), f"kind of port {self.name!r}")
        require(self.dtype in get_args(DType), f"dtype of port {self.name!r}")
        require(self.prior in (*get_args(Prior), None), f"prior of port {self.name!r}")
        require(self.prior != "uniform" or self.range is not None, "range of a uniform prior")
        require(is_shape(self.shape), f"shape of port {self.name!r}")
        rank = len(DIMENSIONS.get(self.kind, self.shape[1:])) + 1
        require(len(self.shape) == rank, f"shape of port {self.name!r}: {rank} dimensions")
        require(self.default is None or is_number(self.default), f"default of {self.name!r}")
        require(self.next == "" or is_word(self.next), f"next of port {self.name!r}")
        require(self.layout in get_args(Layout), f"layout of port {self.name!r}")
        for span in (self.range, self.value_range):
            require(span is None or is_range(span), f"range of port {self.name!r}")
        require(self.fit in get_args(Fit), f"fit of port {self.name!r}")
        require(is_integer(self.order) and self.order >= 0, f"order of port {self.name!r}")
        require(numbers_in_a_row(self) <= MAX_NUMBERS, f"size of port {self.name!r}")
        has_rate = is_integer(self.rate) and 0 < (self.rate or 0) <= MAX_RATE
        rate_is_usable = has_rate if self.kind in RATED else self.rate is None
        require(rate_is_usable, f"rate of port {self.name!r}")
        names_are_usable = are_names(self.classes) and are_names((self.domain,))
        require(names_are_usable, f"names in port {self.name!r}")
        channels = self.shape[1 if self.layout == "NCHW" else 3] if self.is_picture else 0
        colours = "grey" if channels == 1 else "RGB" if channels == 3 else ""
        object.__setattr__(self, "colours", colours)
        require(
            isinstance(self.tolerance, float) and 0 < self.tolerance < float("inf"),
            f"tolerance of port {self.name!r}",
        )

    @classmethod
    def image(cls, name: str, like: Port, *, domain: str = "", any_size: bool = False) -> Port:
        """Return a port for images (batch, channels, height, width) in [-1, 1].

        Args:
            name: of the tensor.
            like: a port of images of the same channels, height and width, such as `data.image`.
            domain: one of `data.sides`, where the images are of one of two domains.
            any_size: whether images of other heights and widths go through as well.
        """
        height, width = ("height", "width") if any_size else (like.height, like.width)
        shape = ("batch", like.channels, height, width)
        return cls(name, "image", shape, range=(-1.0, 1.0), domain=domain)

    @classmethod
    def latent(cls, name: str, size: int, *, prior: Prior | None = "normal") -> Port:
        """Return a port for codes (batch, size), drawn from a standard normal unless told."""
        return cls(name, "latent", ("batch", size), prior=prior)

    @classmethod
    def label(cls, name: str, classes: Sequence[str]) -> Port:
        """Return a port for class numbers (batch,), every class equally likely."""
        last = float(len(classes) - 1)
        names = tuple(classes)
        return cls(name, "label", ("batch",), "int64", (0.0, last), "uniform", names)

    @property
    def channels(self) -> int:
        """Channels of an image port, whatever its layout: 1 for grey, 3 for RGB."""
        return self._size(1 if self.layout == "NCHW" else 3)

    @property
    def height(self) -> int:
        """Height of an image port in pixels, where it is fixed."""
        return self._size(2 if self.layout == "NCHW" else 1)

    @property
    def width(self) -> int:
        """Width of an image port in pixels, where it is fixed."""
        return self._size(3 if self.layout == "NCHW" else 2)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image port, whatever its layout."""
        return self.channels, self.height, self.width

    @property
    def pixels(self) -> int:
        """Numbers in one image: channels · height · width."""
        return math.prod(self.image_shape)

    def _size(self, dimension: int) -> int:
        size = self.shape[dimension]
        if not isinstance(size, int):
            raise ValueError(f"{size} of port {self.name!r} varies")
        return size

    @property
    def sizes(self) -> dict[str, int | str]:
        """The dimensions of one row by their words, the channels left out; none of free ones."""
        words = DIMENSIONS.get(self.kind, ())
        if self.layout == "NHWC":
            words = (*words[1:], *words[:1])
        sizes = dict(zip(words, self.shape[1:], strict=False))
        return {word: size for word, size in sizes.items() if word != "channels"}

    @property
    def image_size(self) -> tuple[int | str, int | str]:
        """Height and width of an image port, whatever its layout; a word for what may vary."""
        height, width = self.shape[2:] if self.layout == "NCHW" else self.shape[1:3]
        return height, width

    @property
    def is_picture(self) -> bool:
        """Whether its rows are pictures."""
        return self.kind in PICTORIAL

    @property
    def is_label(self) -> bool:
        """Whether a row is one class, which can be asked for by name or number."""
        return self.kind in NAMED and len(self.shape) == 1

    @property
    def is_drawn(self) -> bool:
        """Whether an input is filled without anybody: from its prior, or with its default."""
        return self.prior is not None or self.default is not None

    def draw(self, count: int, generator: np.random.Generator) -> np.ndarray[Any, Any]:
        """Draw `count` values from the port's prior, or its default: (count, …) in its dtype.

        Raises:
            ValueError: the port has neither, or a dimension other than the batch varies.
        """
        shape = (count, *(size for size in self.shape[1:] if isinstance(size, int)))
        if not self.is_drawn or len(shape) != len(self.shape):
            raise ValueError(f"port {self.name!r} has no prior of a fixed shape")
        import numpy as np  # noqa: PLC0415 - `zoo list` needs ports and no numbers

        if self.prior == "normal":
            return generator.standard_normal(shape).astype(self.dtype)
        if self.prior != "uniform":
            return np.full(shape, self.default or 0, self.dtype)
        assert self.range is not None
        low, high = self.range
        if self.dtype == "int64":
            return generator.integers(int(low), int(high), shape, endpoint=True)
        return generator.uniform(low, high, shape).astype(self.dtype)


@dataclass(frozen=True)
class DataSpec:
    """What a data set offers, and all that a model must know of it: its ports.

    ``data["image"]`` and ``data.image`` are the port of that name; ``"label" in data`` says whether
    there is one.

    Args:
        name: the data set, as the user named it or the catalogue calls it.
        ports: what a batch holds, by the name that it has there. The batch comes first.
        licence: of the data, as its owners give it; empty where nobody has told.
    """

    name: str
    ports: tuple[Port, ...]
    licence: str = ""

    def __post_init__(self) -> None:
        require(isinstance(self.name, str) and 0 < len(self.name) <= 200, "data set name")
        names = [port.name for port in self.ports]
        require(0 < len(names) == len(set(names)) <= 64, "ports of the data")
        require(are_names((self.licence,)), "licence of the data")

    @classmethod
    def of_images(
        cls,
        name: str,
        channels: int,
        height: int,
        width: int,
        classes: Sequence[str] = (),
        domains: Sequence[str] = (),
        licence: str = "",
    ) -> DataSpec:
        """Return the specification of images in [-1, 1], of `channels` x `height` x `width`.

        With classes, there is a port ``label`` beside ``image``; with two domains, ports ``a`` and
        ``b``, each in an order of its own, take its place.
        """
        image = Port("image", "image", ("batch", channels, height, width), range=(-1.0, 1.0))
        if domains:
            sides = zip("ab", domains, strict=True)
            ports = tuple(
                replace(image, name=side, domain=domain, order=order)
                for order, (side, domain) in enumerate(sides)
            )
            return cls(name, ports, licence)
        labels = (Port.label("label", classes),) if classes else ()
        return cls(name, (image, *labels), licence)

    def __getitem__(self, name: str) -> Port:
        port: Port = getattr(self, name)
        return port

    def __contains__(self, name: object) -> bool:
        return any(port.name == name for port in self.ports)

    def __getattr__(self, name: str) -> Port:
        for port in vars(self).get("ports", ()):
            if port.name == name:
                return cast("Port", port)
        raise AttributeError(f"the data has no port {name!r}")

    def with_images(self, **changes: Any) -> DataSpec:
        """Return the same data with other attributes of its ports of images."""
        return replace(self, ports=tuple(
            replace(port, **changes) if port.is_picture else port for port in self.ports
        ))  # fmt: skip

    @property
    def orders(self) -> dict[str, int]:
        """The number of the order of each port's rows, by name of the port."""
        return {port.name: port.order for port in self.ports}

    @property
    def sizes(self) -> dict[str, int]:
        """What dimensions that a graph leaves open are unless somebody says, by their words."""
        found: dict[str, int] = {}
        for port in self.ports:
            for word, size in port.sizes.items():
                if isinstance(size, int):
                    found.setdefault(word, size)
        return found

    @property
    def numbers(self) -> int:
        """Numbers in one row of the largest port."""
        return max(map(numbers_in_a_row, self.ports))

    @property
    def pictures(self) -> Port:
        """The first port of images, whose size and colours those of all others are."""
        return next(port for port in self.ports if port.is_picture)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by label number; empty without labels."""
        return self.label.classes if "label" in self else ()

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the two sides of a translation; empty for one set of images."""
        return tuple(port.domain for port in self.ports if port.domain)

    @property
    def sides(self) -> tuple[str, str]:
        """The two domains as words for the names of graphs and files: ``("horse", "zebra")``.

        Lower-case letters, digits and hyphens; ``a`` and ``b`` where the domains give no two words.
        """
        words = [slugify(name) for name in self.domains]
        first, second = words if len(words) == 2 and all(words) else ("a", "b")
        return (first, second) if first != second else ("a", "b")

    def side_of(self, domain: str) -> str:
        """Return which arrays of a split hold the images of one of `sides`: ``a`` or ``b``."""
        return "ab"[self.sides.index(domain)]


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of one graph, and what they make possible.

    Args:
        inputs: what goes in.
        outputs: what comes out.
        rounds: of one step of a loop, the rounds that a sample takes unless somebody asks for
            another number; None where it is no step, or the number is free.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    rounds: int | None = None

    @property
    def required(self) -> tuple[Port, ...]:
        """The inputs that somebody must supply, because they have no prior and no default."""
        return tuple(port for port in self.inputs if not port.is_drawn)

    @property
    def is_step(self) -> bool:
        """Whether the graph is one step of a loop: an output becomes an input of the next round."""
        return any(port.next for port in self.inputs)

    @property
    def maps_images(self) -> bool:
        """Whether one image goes in and an image comes out."""
        ports = (*self.required, *self.outputs[:1])
        return len(self.required) == 1 < len(ports) and all(port.is_picture for port in ports)


def describe_port(port: Port) -> str:
    """Return a port in words: ``label (batch), uniform in [0, 9], 10 classes``."""
    words = [f"{port.name} ({', '.join(map(str, port.shape))})"]
    if port.kind not in {port.name, "values"}:
        words = [f"{port.kind} {words[0]}"]
    span = f" in [{port.range[0]:g}, {port.range[1]:g}]" if port.range else ""
    if port.dtype == "uint8":
        span = f" of uint8{span}"
    if port.prior is None:
        words[0] += span
        words += [] if port.default is None else [f"{port.default:g} unless given"]
    else:
        words.append(
            {"normal": "standard normal", "zeros": "zeros"}.get(port.prior, "uniform" + span)
        )
    if port.next:
        words.append(f"then {port.next} of the round before")
    if port.domain:
        words.append(f"of {port.domain}")
    if port.classes:
        words.append(f"{len(port.classes)} {CLASSES_ARE.get(port.kind, 'classes')}")
    return ", ".join(words)


def is_pictorial(port: Port) -> bool:
    """Whether pictures can be read into a port, or written from it."""
    return port.is_picture and port.channels in (1, 3) and port.range is not None


def is_code(port: Port) -> bool:
    """Whether the rows of a port are codes, all of as many real numbers."""
    return port.kind in CODED and port.dtype == "float32" and not has_dynamic_size(port)


def translates_to(signature: Signature) -> str:
    """Return the domain of the pictures that come out, where they come from another one."""
    domain = signature.outputs[0].domain
    return "" if domain in {port.domain for port in signature.inputs} else domain


def has_dynamic_size(port: Port) -> bool:
    """Whether a dimension beside the batch may vary."""
    return any(isinstance(size, str) for size in port.shape[1:])


def shapes_agree(promised: Sequence[int | str], found: Sequence[int | str | None]) -> bool:
    """Whether two shapes have one rank and, where both are fixed, one size."""
    return len(promised) == len(found) and all(
        ours == theirs
        for ours, theirs in zip(promised, found, strict=True)
        if isinstance(ours, int) and isinstance(theirs, int)
    )


def numbers_in_a_row(port: Port) -> int:
    """Return how many numbers one row of a port holds; a size that may vary counts once."""
    return math.prod(size for size in port.shape[1:] if isinstance(size, int))
