"""A dense CRF after the network, as in DeepLab V1, for classes that overlap.

Ph. Kraehenbuehl, V. Koltun: Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials, NIPS 2011;
L.-C. Chen, G. Papandreou, I. Kokkinos, K. Murphy, A. L. Yuille: Semantic Image Segmentation with Deep Convolutional Nets and Fully
Connected CRFs, ICLR 2015; M. Teichmann, R. Cipolla: Convolutional CRFs for Semantic Segmentation, BMVC 2019 (arXiv 2018);
J. Kopf, M. F. Cohen, D. Lischinski, M. Uyttendaele: Joint Bilateral Upsampling, SIGGRAPH 2007 (from cells back to pixels).

Each class has a separate CRF with two labels, present and absent, and Potts costs, so classes may still overlap. Subtracting the two
mean-field equations leaves one equation for the logit q of "present":  q = logit + K (2 sigmoid(q) - 1). K is the weighted sum of a
Gaussian and a bilateral kernel, each normalised symmetrically, K_ij / sqrt(sum_k K_ik · sum_k K_kj), which is densecrf's default.

Two approximations make it fast.
`stride` s: messages pass between cells of s x s pixels, each represented by its mean. At the end every pixel takes a weighted mean of the
messages of its four nearest cells; cells of a similar grey level count more. Details smaller than a cell send no message.
`radius`: the bilateral kernel is cut off at `radius` pixels (the Gaussian kernel is not). It is normalised after the cut, so near pixels
count more. A connected error wider than the radius is not corrected, even if the image shows it.
With stride 1 and a radius as large as the image the result is that of the exact dense CRF.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor
from torch.nn import functional

from handbone.config.params import CrfParams

_TILE = 8  # side of a tile in cells; most cells of its patch of (8 + 2·reach)² cells are within reach of every cell of the tile
_MIN_EXPONENT = -60.0  # exp(-60) is negligible; below -87 float32 becomes denormal, which is a hundred times slower on a CPU
_CHUNK = 2**19  # entries of the bilateral kernel in memory at a time: 2 MiB, near a CPU's cache size, and enough work for a GPU


@torch.no_grad()
def mean_field(logits: Tensor, images: Tensor, settings: CrfParams) -> Tensor:
    """Finite logits (N, C, h, w) and their images (N, C_in, h, w) in 0..1 -> refined logits (N, C, h, w), float32.

    Besides input and result, memory holds for one image at a time: about 6 · C · (h / stride) · (w / stride) floats of reduced maps, about
    twelve planes of h x w, and a few times 2 MiB of the bilateral kernel (or 64 · (8 + 2 · radius / stride)² floats, if that is more).

    Raises `ValueError` if logits and images differ in number or size.
    """
    if logits.shape[0] != images.shape[0] or logits.shape[2:] != images.shape[2:]:
        raise ValueError(f"logits of shape {tuple(logits.shape)} do not belong to images of shape {tuple(images.shape)}")
    refined = torch.empty_like(logits, dtype=torch.float32)
    with torch.autocast(logits.device.type, enabled=False):
        for result, unary, image in zip(refined, logits, images, strict=True):
            _refine(unary, _features(image, settings), settings, result)
    return refined


def _features(image: Tensor, settings: CrfParams) -> Tensor:
    """Image (C_in, h, w) in 0..1 -> features in standard deviations of the bilateral kernel: one channel if grey, 0 without that kernel."""
    channels = image[:1] if (image == image[:1]).all() else image
    contrast = settings.bilateral_contrast * math.sqrt(len(channels) / 3)
    return channels.float() * (255 / contrast if settings.bilateral_weight else 0)


def _refine(logits: Tensor, features: Tensor, settings: CrfParams, result: Tensor) -> None:
    """Write the refined logits (C, h, w) of one image to `result`, class by class: all at once would double the memory."""
    means = _by_cell(features, settings.stride)
    messages = _messages(_by_cell(logits, settings.stride), means, settings)
    neighbours = _neighbours(features, means, settings.stride)
    for plane, message, refined in zip(logits, messages, result, strict=True):
        refined.copy_(plane)
        for rows, columns, weights in neighbours:
            refined.addcmul_(message[rows][:, columns], weights)


def _messages(logits: Tensor, features: Tensor, settings: CrfParams) -> Tensor:
    """Logits (C, h, w) and features (C_in, h, w) of the cells -> the last iteration's messages (C, h, w), which are added to the logits."""
    kernels: list[tuple[float, _Gaussian | _Bilateral]] = []
    if settings.gaussian_weight:
        kernels.append((settings.gaussian_weight, _Gaussian(features, settings)))
    if settings.bilateral_weight:
        kernels.append((settings.bilateral_weight, _Bilateral(features, settings)))
    messages = torch.zeros_like(logits)
    for _ in range(settings.iterations):
        beliefs = (logits + messages).div_(2).tanh_()  # 2 sigmoid(q) - 1
        messages.zero_()
        for weight, kernel in kernels:
            messages.add_(kernel(beliefs), alpha=weight)
    return messages


def _neighbours(features: Tensor, means: Tensor, stride: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Each pixel's four nearest cells: their rows (h,), columns (w,) and weights (h, w), which are bilinear if the image is constant."""
    rows = _nearest(torch.arange(features.shape[1], device=features.device), stride)
    columns = _nearest(torch.arange(features.shape[2], device=features.device), stride)
    found = []
    for (row, row_share), (column, column_share) in itertools.product(rows, columns):
        contrasts = (means[:, row][:, :, column] - features).square_().sum(0)
        found.append((row, column, (contrasts / -2).clamp_min_(_MIN_EXPONENT).exp_() * row_share[:, None] * column_share))
    total = torch.stack([weights for _, _, weights in found]).sum(0)
    return [(row, column, weights.div_(total)) for row, column, weights in found]


def _nearest(pixels: Tensor, stride: int) -> list[tuple[Tensor, Tensor]]:
    """Along one axis: the cells before and behind each pixel, each with its bilinear weight."""
    last = (len(pixels) - 1) // stride
    places = ((pixels + 0.5) / stride - 0.5).clamp_(0, last)
    before = places.long()
    return [(before, 1 - (places - before)), ((before + 1).clamp_max_(last), places - before)]


def _by_cell(maps: Tensor, stride: int) -> Tensor:
    """Maps (C, h, w) -> the mean of each cell, float32; cells at the right and bottom border may hold fewer pixels."""
    return functional.avg_pool2d(maps.float(), stride, ceil_mode=True)


def _exponents(distances: Tensor, sigma: float) -> Tensor:
    """Distances -> the logarithm of a Gaussian."""
    return ((distances / sigma).square() / -2).clamp_min_(_MIN_EXPONENT)


class _Gaussian:
    """The spatial kernel. It is separable, so two small matrix products compute it exactly."""

    def __init__(self, features: Tensor, settings: CrfParams) -> None:
        sigma = settings.gaussian_sigma / settings.stride
        self.rows, self.columns = (self._axis(torch.arange(count, device=features.device), sigma) for count in features.shape[1:])

    def __call__(self, beliefs: Tensor) -> Tensor:
        return self.rows @ beliefs @ self.columns

    @staticmethod
    def _axis(positions: Tensor, sigma: float) -> Tensor:
        kernel = _exponents(positions[:, None] - positions, sigma).exp()
        scale = kernel.sum(0).rsqrt()
        return scale[:, None] * kernel * scale


class _Bilateral:
    """The kernel of position and grey level, cut off at `reach` cells: for each tile, the matrix from the patch around it, not stored.

    Most of the patch is within reach of each cell of the tile, so a matrix product over the whole patch is faster than a sum over shifts.
    """

    def __init__(self, features: Tensor, settings: CrfParams) -> None:
        self.reach = min(math.ceil(settings.radius / settings.stride), max(features.shape[1:]) - 1)
        self.patch = _TILE + 2 * self.reach
        self.features = self._patches(features)
        self.spatial = self._spatial(features.device, settings.bilateral_sigma / settings.stride)
        self.scale = self._filtered(torch.ones_like(features[:1])).rsqrt()

    def __call__(self, beliefs: Tensor) -> Tensor:
        return self._filtered(beliefs * self.scale).mul_(self.scale)

    def _spatial(self, device: torch.device, sigma: float) -> Tensor:
        """The logarithm of the kernel's spatial factor, (cells of a tile, cells of its patch); out of reach the kernel is negligible."""
        places = torch.arange(self.patch, device=device)
        distances = places - self.reach - places[:_TILE, None]
        axis = _exponents(distances, sigma).masked_fill_(distances.abs() > self.reach, _MIN_EXPONENT)
        return (axis[:, None, :, None] + axis[None, :, None, :]).reshape(_TILE**2, self.patch**2)

    def _patches(self, maps: Tensor) -> Tensor:
        """Maps (C, h, w) -> a view of the patch around each tile, (tile rows, tile columns, C, patch, patch), 0 outside the image."""
        bottom, right = (self.reach + -count % _TILE for count in maps.shape[1:])
        padded = functional.pad(maps.permute(1, 2, 0), (0, 0, self.reach, right, self.reach, bottom))
        return padded.unfold(0, self.patch, _TILE).unfold(1, self.patch, _TILE)

    def _filtered(self, beliefs: Tensor) -> Tensor:
        """Beliefs (C, h, w) -> for each cell the sum over its reach, weighted by the kernel without normalisation, (C, h, w)."""
        sources = self._patches(beliefs)
        rows, columns, classes = sources.shape[:3]
        messages = beliefs.new_empty(rows, _TILE, columns, _TILE, classes)
        step = max(_CHUNK // self.spatial.numel(), 1)
        for row in range(rows):
            for first in range(0, columns, step):
                tiles = slice(first, first + step)
                patches = sources[row, tiles].permute(0, 2, 3, 1).flatten(1, 2)  # (tiles, cells of a patch, C)
                sums = self._kernel(self.features[row, tiles]) @ patches  # (tiles, cells of a tile, C)
                messages[row, :, tiles] = sums.view(-1, _TILE, _TILE, classes).transpose(0, 1)
        height, width = beliefs.shape[1:]
        return messages.flatten(2, 3).flatten(0, 1)[:height, :width].permute(2, 0, 1)

    def _kernel(self, features: Tensor) -> Tensor:
        """Patches of features (tiles, C_in, patch, patch) -> the kernel (tiles, cells of a tile, cells of its patch)."""
        centre = slice(self.reach, self.reach + _TILE)
        exponents = self.spatial
        for channel in features.unbind(1):
            contrasts = channel.flatten(1)[:, None] - channel[:, centre, centre].flatten(1)[:, :, None]
            exponents = torch.addcmul(exponents, contrasts, contrasts, value=-0.5)
        return exponents.clamp_min_(_MIN_EXPONENT).exp_()
