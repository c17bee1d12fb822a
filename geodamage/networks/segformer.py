"""SegFormer-B0: a small transformer with overlapping patches and an all-MLP head.

Source: Xie et al. 2021, "SegFormer: Simple and Efficient Design for Semantic Segmentation with
Transformers" (arXiv:2105.15203). The modules carry the names of the published checkpoints
(Hugging Face's, up to transformers 4), so that such a file loads without a translation table.

Attention looks at the whole image, and every image is first brought to one size. So the context is
global: the output at a pixel depends on the extent of the image around it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional

from geodamage.errors import OptionError

SIZE = 512
"""Rows and columns that every image is brought to: those the published weights saw."""

CHANNELS = {"localisation": 1, "damage": 5}
"""Channels that come out, by task."""


@dataclass(frozen=True)
class StageShape:
    """What sets one stage of the encoder apart from the others.

    Parameters
    ----------
    width
        Channels.
    heads
        Heads of the attention; they share the width equally.
    reduction
        Factor by which keys and values are coarser than queries, along each side.
    patch, stride
        Sides of a patch and of the step to the next, in pixels of the stage before.
    """

    width: int
    heads: int
    reduction: int
    patch: int
    stride: int


# Source: Xie et al. 2021, table 6, column B0.
STAGES = (
    StageShape(width=32, heads=1, reduction=8, patch=7, stride=4),
    StageShape(width=64, heads=2, reduction=4, patch=3, stride=2),
    StageShape(width=160, heads=5, reduction=2, patch=3, stride=2),
    StageShape(width=256, heads=8, reduction=1, patch=3, stride=2),
)
DEPTH = 2  # blocks in each stage
MLP_RATIO = 4
HEAD_WIDTH = 256
# Source: configuration of nvidia/segformer-b0-finetuned-ade-512-512. Both act in training only.
DROP_PATH = 0.1
DROPOUT = 0.1


def to_tokens(image: Tensor) -> Tensor:
    """Return `(n, h * w, c)` from `(n, c, h, w)`."""
    return image.flatten(2).transpose(1, 2)


def to_image(tokens: Tensor, height: int, width: int) -> Tensor:
    """Return `(n, c, h, w)` from `(n, h * w, c)`."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, height, width)


class LayerNorm(nn.LayerNorm):
    """Layer normalisation with an epsilon of 1e-5.

    The configuration of the published networks says 1e-6, but what made them ran torch's default.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-5)


class PatchEmbedding(nn.Module):
    """Overlapping patches of an image as tokens."""

    def __init__(self, inputs: int, shape: StageShape) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, shape.width, shape.patch, shape.stride, shape.patch // 2)
        self.layer_norm = LayerNorm(shape.width)

    def forward(self, image: Tensor) -> tuple[Tensor, int, int]:
        """Return tokens `(n, h * w, width)`, and the height and width of their grid."""
        patches: Tensor = self.proj(image)
        tokens: Tensor = self.layer_norm(to_tokens(patches))
        return tokens, patches.shape[2], patches.shape[3]


class SelfAttention(nn.Module):
    """Attention of every token to a coarser grid of the same tokens."""

    def __init__(self, shape: StageShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.reduction = shape.reduction
        self.query = nn.Linear(shape.width, shape.width)
        self.key = nn.Linear(shape.width, shape.width)
        self.value = nn.Linear(shape.width, shape.width)
        if shape.reduction > 1:
            self.sr = nn.Conv2d(shape.width, shape.width, shape.reduction, shape.reduction)
            self.layer_norm = LayerNorm(shape.width)

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """Return tokens of the same shape `(n, h * w, c)`."""
        coarse = tokens
        if self.reduction > 1:
            coarse = self.layer_norm(to_tokens(self.sr(to_image(tokens, height, width))))
        seen = functional.scaled_dot_product_attention(
            self._split(self.query(tokens)),
            self._split(self.key(coarse)),
            self._split(self.value(coarse)),
        )
        return seen.transpose(1, 2).flatten(2)

    def _split(self, tokens: Tensor) -> Tensor:
        """Return `(n, heads, tokens, c / heads)` from `(n, tokens, c)`."""
        return tokens.reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


class AttentionOutput(nn.Module):
    """The linear layer after the heads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens of the same shape."""
        return self.dense(tokens)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Self-attention and the linear layer after it."""

    def __init__(self, shape: StageShape) -> None:
        super().__init__()
        # `self.self`: the published name.
        self.self = SelfAttention(shape)
        self.output = AttentionOutput(shape.width)

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """Return tokens of the same shape `(n, h * w, c)`."""
        return self.output(self.self(tokens, height, width))  # type: ignore[no-any-return]


class DepthwiseConv(nn.Module):
    """A 3 x 3 convolution of each channel on its own; it tells tokens where they are."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 3, 1, 1, groups=width)

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """Return tokens of the same shape `(n, h * w, c)`."""
        return to_tokens(self.dwconv(to_image(tokens, height, width)))


class MixFeedForward(nn.Module):
    """Linear, depthwise convolution, GELU, linear."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense1 = nn.Linear(width, MLP_RATIO * width)
        self.dwconv = DepthwiseConv(MLP_RATIO * width)
        self.dense2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """Return tokens of the same shape `(n, h * w, c)`."""
        wide = self.dwconv(self.dense1(tokens), height, width)
        return self.dense2(functional.gelu(wide))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and feed-forward, each beside an identity and behind a normalisation."""

    def __init__(self, shape: StageShape, drop_path: float) -> None:
        super().__init__()
        self.layer_norm_1 = LayerNorm(shape.width)
        self.attention = Attention(shape)
        self.layer_norm_2 = LayerNorm(shape.width)
        self.mlp = MixFeedForward(shape.width)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """Return tokens of the same shape `(n, h * w, c)`."""
        seen = self.attention(self.layer_norm_1(tokens), height, width)
        tokens = tokens + self.drop_path(seen)
        return tokens + self.drop_path(  # type: ignore[no-any-return]
            self.mlp(self.layer_norm_2(tokens), height, width)
        )


class Encoder(nn.Module):
    """Four stages, each coarser and wider than the one before."""

    def __init__(self) -> None:
        super().__init__()
        widths = [3, *(shape.width for shape in STAGES)]
        # Source: Huang et al. 2016 (stochastic depth): the rate grows from the first block on.
        steps = len(STAGES) * DEPTH - 1
        rates = [DROP_PATH * step / steps for step in range(steps + 1)]
        self.patch_embeddings = nn.ModuleList(
            PatchEmbedding(inputs, shape)
            for (inputs, _), shape in zip(pairwise(widths), STAGES, strict=True)
        )
        self.block = nn.ModuleList(
            nn.ModuleList(Block(shape, rates[stage * DEPTH + i]) for i in range(DEPTH))
            for stage, shape in enumerate(STAGES)
        )
        self.layer_norm = nn.ModuleList(LayerNorm(shape.width) for shape in STAGES)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return features at strides 4, 8, 16 and 32 of float `(n, 3, h, w)`."""
        stages = []
        for embed, blocks, norm in zip(
            self.patch_embeddings, self.block, self.layer_norm, strict=True
        ):
            tokens, height, width = embed(image)
            for block in blocks:  # type: ignore[attr-defined]
                tokens = block(tokens, height, width)
            image = to_image(norm(tokens), height, width)
            stages.append(image)
        return stages


class Backbone(nn.Module):
    """The encoder under its published name."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return features at strides 4, 8, 16 and 32 of float `(n, 3, h, w)`."""
        return self.encoder(image)  # type: ignore[no-any-return]


class Projection(nn.Module):
    """A linear layer over the channels of an image."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.proj = nn.Linear(inputs, HEAD_WIDTH)

    def forward(self, image: Tensor) -> Tensor:
        """Return `(n, HEAD_WIDTH, h, w)` from `(n, inputs, h, w)`."""
        tokens = self.proj(to_tokens(image))
        return to_image(tokens, image.shape[2], image.shape[3])


class DecodeHead(nn.Module):
    """Bring all stages to one width and size, join them, classify.

    Parameters
    ----------
    widths
        Channels of the stages, finest first.
    outputs
        Channels that come out.
    """

    def __init__(self, widths: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.linear_c = nn.ModuleList(Projection(width) for width in widths)
        self.linear_fuse = nn.Conv2d(HEAD_WIDTH * len(widths), HEAD_WIDTH, 1, bias=False)
        self.batch_norm = nn.BatchNorm2d(HEAD_WIDTH)
        self.dropout = nn.Dropout(DROPOUT)
        self.classifier = nn.Conv2d(HEAD_WIDTH, outputs, 1)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Return logits `(n, outputs, h, w)` at the size of the finest stage."""
        size = stages[0].shape[2:]
        images = [
            functional.interpolate(project(stage), size=size, mode="bilinear", align_corners=False)
            for project, stage in zip(self.linear_c, stages, strict=True)
        ]
        # Coarsest first: so the published weights of `linear_fuse` are ordered.
        fused = self.linear_fuse(torch.cat(images[::-1], 1))
        fused = self.dropout(functional.relu(self.batch_norm(fused)))
        return self.classifier(fused)  # type: ignore[no-any-return]


class Segformer(nn.Module):
    """SegFormer-B0 for localisation (one image) or damage (a pair).

    For damage both dates go through the same encoder, and the head reads the features of both,
    stage by stage side by side.

    Parameters
    ----------
    outputs
        Channels that come out: 1 for localisation, 5 for damage.
    dates
        Images that go in: 1 or 2.
    size
        Rows and columns that every image is brought to.
    """

    stride = 1

    def __init__(self, outputs: int, *, dates: int = 1, size: int = SIZE) -> None:
        super().__init__()
        self.dates = dates
        self.size = size
        self.segformer = Backbone()
        self.decode_head = DecodeHead([dates * shape.width for shape in STAGES], outputs)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits at the size of the input.

        Parameters
        ----------
        x
            float `(n, 3 * dates, h, w)`, normalised; of a pair the pre image first.

        Returns
        -------
        float
            `(n, outputs, h, w)`.
        """
        square = functional.interpolate(
            x, size=(self.size, self.size), mode="bilinear", align_corners=False
        )
        # Both dates as one batch: the same weights, one pass.
        batches = [
            torch.cat(stage.chunk(self.dates), 1)
            for stage in self.segformer(torch.cat(square.chunk(self.dates, 1)))
        ]
        return functional.interpolate(
            self.decode_head(batches), size=x.shape[2:], mode="bilinear", align_corners=False
        )


def _initialise(module: nn.Module) -> None:
    # Source: configuration of nvidia/segformer-b0 (initializer_range).
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def segformer_b0(task: str, pretrained: bool) -> Segformer:
    """Return SegFormer-B0 for a task.

    Parameters
    ----------
    task
        "localisation": `(n, 3, h, w)` to `(n, 1, h, w)`; "damage": `(n, 6, h, w)` to
        `(n, 5, h, w)`.
    pretrained
        Must be False: no package that geodamage needs carries weights of this network.

    Raises
    ------
    OptionError
        If there is no such task, or weights are asked for.
    """
    if task not in CHANNELS:
        raise OptionError(
            f"segformer_b0 has no task {task!r}: choose one of {', '.join(CHANNELS)}."
        )
    if pretrained:
        raise OptionError(
            "segformer_b0 has no weights to start from here: take a checkpoint that MetaDamageNet "
            "published, read it with load_checkpoint, or train from scratch with pretrained=False."
        )
    return Segformer(CHANNELS[task], dates=2 if task == "damage" else 1)
