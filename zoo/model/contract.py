"""The contract between the zoo and a model: read this page to write one.

A model is one file: its networks, its objective and what it exports. The loop, devices, precision,
logging, checkpoints, pictures and ONNX are written once, elsewhere, and know a model only through
the names below.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torch.optim import Optimizer

from zoo.model.blocks import constant
from zoo.ports import DataSpec, Port, Signature

Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class Player:
    """The networks that one objective trains, and how.

    An autoencoder has one player, a GAN two: its generator and its discriminator.

    Args:
        modules: networks that are attributes of the model. Every parameter of the model that
            requires a gradient belongs to one player, or to several that say `shared`. Networks
            are called as ``network(x)``, never through other methods of theirs, so that the trainer
            can spread them over several devices.
        optimiser: takes the parameters and returns the optimiser, for example
            ``partial(torch.optim.Adam, lr=config.lr)``.
        schedule: factor of the learning rate by the share of the training that is done, in [0, 1].
        loss_at_random_guess: of a discriminator: the sum of its terms when it cannot tell real from
            generated images, 2 ln 2 for the logistic loss. None for other players, and where the
            terms have no such value, as those of a Wasserstein critic.
        clip_norm: greatest norm of the gradient of all parameters together; a longer gradient is
            scaled down to it before the optimiser moves them.
        accumulate: updates of this player for one move of the optimiser, which takes the mean of
            their gradients. Those that are left at the end of a training move nothing.
        shared: whether networks of this player may belong to another one as well, with an optimiser
            of its own. An adversarial autoencoder trains its encoder twice in a step: for
            reconstruction, and as ``Player([self.encoder], adam, shared=True)``.

    Raises:
        ValueError: `clip_norm` is not above 0, or `accumulate` is no whole number above 0.
    """

    modules: Sequence[nn.Module]
    optimiser: Callable[[Iterable[nn.Parameter]], Optimizer]
    schedule: Callable[[float], float] = constant
    loss_at_random_guess: float | None = None
    clip_norm: float | None = None
    accumulate: int = 1
    shared: bool = False

    def __post_init__(self) -> None:
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm={self.clip_norm} must be above 0")
        if not isinstance(self.accumulate, int) or self.accumulate < 1:
            raise ValueError(f"accumulate={self.accumulate} must be a whole number above 0")


class Update:
    """One step of one player's optimiser, which lowers the sum of the terms.

    A player that has nothing to do in a phase of the training is not updated, and its optimiser
    stays as it is.

    Args:
        player: name of the player; no other player's parameters change.
        terms: named scalar tensors, at least one, already weighted. The trainer checks them.
    """

    def __init__(self, player: str, **terms: Tensor) -> None:
        self.player = player
        self.terms = terms


@dataclass(frozen=True)
class Graph:
    """One function of the model, with its ports: what is exported as one ONNX file.

    Args:
        function: a method of the model, or one of its networks, that takes one tensor an input
            port, in order, and returns one tensor an output port (a tuple, where there are
            several). It draws nothing at random: noise comes in through a port that has a prior.
        inputs: what goes in.
        outputs: what comes out.
        rounds: of a graph that is one step of a loop (an input names an output as its `next`),
            the rounds of one sample unless somebody asks for another number.
    """

    function: Callable[..., Tensor | tuple[Tensor, ...]]
    inputs: Sequence[Port]
    outputs: Sequence[Port]
    rounds: int | None = None

    @property
    def signature(self) -> Signature:
        """The graph as everything outside the model sees it."""
        return Signature(tuple(self.inputs), tuple(self.outputs), self.rounds)


@dataclass(frozen=True)
class Goal:
    """The validation metric that says which checkpoint is best."""

    metric: str
    direction: Literal["lowest", "highest"]

    def is_better(self, new: float, old: float) -> bool:
        """Whether `new` beats `old`."""
        return new < old if self.direction == "lowest" else new > old


@dataclass(frozen=True)
class Monitor:
    """Something that can go wrong with a model, and that only the model itself can tell.

    Args:
        name: short, in small letters and hyphens, as ``--fail-on`` takes it: ``dead-codes``.
        title: what an alert begins with: ``dead codes``.
        check: a method of the model that takes a batch of held-out data, at each validation in
            evaluation mode without gradients, and returns in a few words what is wrong, with its
            numbers, or None.
        advice: one line: what to try.
    """

    name: str
    title: str
    check: Callable[[Any, Batch], str | None]
    advice: str


@dataclass(frozen=True)
class Training:
    """How long and in what portions to train, when the user does not say.

    Args:
        epochs: passes over the training images.
        batch_size: images a step, over all devices together.
        precision: ``32`` for a model whose training needs full precision; ``auto`` mixes bfloat16
            in where the device computes it natively.
    """

    epochs: int = 20
    batch_size: int = 128
    precision: Literal["auto", "32"] = "auto"


class Model(nn.Module, ABC):
    """A model of the zoo.

    Subclasses set `Config` to a frozen dataclass whose fields are made by `zoo.option`, build
    their networks in ``__init__`` after ``super().__init__(config, data)``, and keep all state in
    those networks.

    Parameters with ``requires_grad=False`` are frozen: they belong to no player and are saved with
    the weights. A network all of whose parameters are frozen is in evaluation mode while the model
    trains.

    Attributes:
        assets: files of the pretrained networks that `Card.assets` names, by name of the network;
            there before ``__init__``. Build such a network with ``requires_grad_(False)`` and load
            its file; its tensors are not saved with the weights.
        goal: the validation metric that says which checkpoint is best; None, and the last one is
            taken. A model sets it on itself in ``__init__`` where it depends on the options.
        progress: share of the training that is done, in [0, 1]: of its steps, or of its time where
            that is what is asked for. The trainer sets it before each step; validations and
            previews see that of the last step, and a resumed training has the same. It is 1 for a
            model that is not trained, such as one that was loaded or is exported. What a graph
            depends on (the stage of a growing network) belongs in a buffer, which is saved with the
            weights.
    """

    Config: ClassVar[type]
    training_defaults: ClassVar[Training] = Training()
    goal: Goal | None = None
    progress: float = 1.0
    assets: Mapping[str, Path] = MappingProxyType({})

    def __init__(self, config: Any, data: DataSpec) -> None:
        super().__init__()
        self.config = config
        self.data = data

    @abstractmethod
    def players(self) -> Mapping[str, Player]:
        """Return the players, by name."""

    @abstractmethod
    def training_step(self, batch: Batch) -> Iterator[Update]:
        """Yield the updates of one training step, in the order of the paper.

        Between two `yield`s the trainer differentiates the sum of the terms with respect to the
        parameters of that player alone, steps its optimiser and logs every term.

        Args:
            batch: ``image`` (N, C, H, W) in [-1, 1] and, where the data has classes, ``label``
                (N,) int64. Of two domains ``a`` and ``b`` in place of ``image``; their rows belong
                together only where the data is pairs.
        """

    def validation_step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return metrics of images that were held out, as scalars averaged over the batch.

        Called in evaluation mode without gradients. The default has none.
        """
        del batch
        return {}

    def latent_kl(self, batch: Batch) -> Tensor | None:
        """Return the information in the code of an image: KL(q(z|x) ‖ p(z)), shape (latent,).

        By latent dimension in nats, averaged over the batch and not weighted. Called in evaluation
        mode without gradients. The default is None, for models without a posterior.
        """
        del batch
        return None

    def log_importance_weights(self, batch: Batch, samples: int) -> Tensor | None:
        """Return log p(x, z) − log q(z|x) of draws z ~ q(z|x), in nats, shape (samples, N).

        ``zoo eval`` makes the ELBO and the importance-weighted bound of it. Called in evaluation
        mode without gradients. The default is None, for models without a posterior.
        """
        del batch, samples
        return None

    @classmethod
    def monitors(cls) -> Sequence[Monitor]:
        """Return what only this model can tell of its health; the default is nothing.

        Most of what goes wrong is watched for every model.
        """
        return ()

    @abstractmethod
    def graphs(self) -> Mapping[str, Graph]:
        """Return what leaves the zoo, by name."""
