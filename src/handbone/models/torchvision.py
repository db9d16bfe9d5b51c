"""The segmentation networks of torchvision: FCN (Long, Shelhamer and Darrell, CVPR 2015) and DeepLabV3 (Chen et al., Rethinking Atrous
Convolution for Semantic Image Segmentation, arXiv 2017) on dilated ResNets, DeepLabV3 and LR-ASPP (Howard et al., Searching for
MobileNetV3, ICCV 2019) on MobileNetV3.
"""

from __future__ import annotations

from torch import Tensor, empty, nn
from torchvision.models import MobileNet_V3_Large_Weights, ResNet50_Weights, ResNet101_Weights, WeightsEnum
from torchvision.models.segmentation import deeplabv3, fcn, lraspp

from handbone.models.outputs import Auxiliary, Outputs
from handbone.models.pretrained import IMAGENET, State, downloaded, load_into, read_weights
from handbone.models.published import headless

AUXILIARY_WEIGHT = 0.4
RESNET50, RESNET101, MOBILENET = (  # what torchvision itself trains these networks from
    ResNet50_Weights.IMAGENET1K_V1,
    ResNet101_Weights.IMAGENET1K_V1,
    MobileNet_V3_Large_Weights.IMAGENET1K_V1,
)


class Segmenter(nn.Module):
    """A network that gives a dictionary; (N, in_channels, H, W) -> (N, classes, H, W) logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor | Outputs:
        """(N, in_channels, H, W) -> (N, classes, H, W) logits; in training with the auxiliary ones, where the network has them."""
        found = self.network(images)
        logits: Tensor = found["out"]
        if self.training and "aux" in found:
            return Outputs(logits, (Auxiliary(found["aux"], AUXILIARY_WEIGHT),))
        return logits


def fcn_resnet50(in_channels: int, classes: int, weights: str | None = None, aux_loss: bool = False) -> Segmenter:
    """A 3x3 and a 1x1 convolution on ResNet-50 at 1/8; `aux_loss`: the same on its third stage."""
    network = fcn.fcn_resnet50(weights_backbone=None, num_classes=classes, aux_loss=_flag(aux_loss))
    return _fitted(network, in_channels, weights, RESNET50)


def fcn_resnet101(in_channels: int, classes: int, weights: str | None = None, aux_loss: bool = False) -> Segmenter:
    """A 3x3 and a 1x1 convolution on ResNet-101 at 1/8; `aux_loss`: the same on its third stage."""
    network = fcn.fcn_resnet101(weights_backbone=None, num_classes=classes, aux_loss=_flag(aux_loss))
    return _fitted(network, in_channels, weights, RESNET101)


def deeplabv3_resnet50(in_channels: int, classes: int, weights: str | None = None, aux_loss: bool = False) -> Segmenter:
    """Atrous spatial pyramid pooling on ResNet-50 at 1/8; `aux_loss`: a small head on its third stage."""
    network = deeplabv3.deeplabv3_resnet50(weights_backbone=None, num_classes=classes, aux_loss=_flag(aux_loss))
    return _fitted(network, in_channels, weights, RESNET50)


def deeplabv3_resnet101(in_channels: int, classes: int, weights: str | None = None, aux_loss: bool = False) -> Segmenter:
    """Atrous spatial pyramid pooling on ResNet-101 at 1/8; `aux_loss`: a small head on its third stage."""
    network = deeplabv3.deeplabv3_resnet101(weights_backbone=None, num_classes=classes, aux_loss=_flag(aux_loss))
    return _fitted(network, in_channels, weights, RESNET101)


def deeplabv3_mobilenet_v3_large(in_channels: int, classes: int, weights: str | None = None, aux_loss: bool = False) -> Segmenter:
    """Atrous spatial pyramid pooling on MobileNetV3 at 1/16; `aux_loss`: a small head on its middle."""
    network = deeplabv3.deeplabv3_mobilenet_v3_large(weights_backbone=None, num_classes=classes, aux_loss=_flag(aux_loss))
    return _fitted(network, in_channels, weights, MOBILENET)


def lraspp_mobilenet_v3_large(in_channels: int, classes: int, weights: str | None = None) -> Segmenter:
    """A gated 1x1 convolution on MobileNetV3 at 1/16, and a skip from 1/8."""
    return _fitted(lraspp.lraspp_mobilenet_v3_large(weights_backbone=None, num_classes=classes), in_channels, weights, MOBILENET)


def _flag(aux_loss: object) -> bool:
    if not isinstance(aux_loss, bool):
        raise ValueError(f"aux_loss is true or false, not {aux_loss!r}")
    return aux_loss


def _fitted(network: nn.Module, in_channels: int, weights: str | None, published: WeightsEnum) -> Segmenter:
    """Give the trunk as many input channels, and its weights: the published ones, or a file's."""
    trunk = network.get_submodule("backbone")
    if in_channels != 3:
        _replace_stem(trunk, in_channels)
    if weights is not None:
        state = downloaded(published.url) if weights == IMAGENET else read_weights(weights)
        load_into(trunk, _of_trunk(state), published.url if weights == IMAGENET else weights)
    return Segmenter(network)


def _of_trunk(state: State) -> State:
    """Names of the classification network -> names of its trunk here: no classifier, and a MobileNet's features alone."""
    return headless({name.removeprefix("features."): tensor for name, tensor in state.items()}, ("fc.", "classifier."))


def _replace_stem(trunk: nn.Module, in_channels: int) -> None:
    """The first convolution takes `in_channels`; drawn anew, as torchvision draws it."""
    stem = next(module for module in trunk.modules() if isinstance(module, nn.Conv2d))
    stem.in_channels = in_channels
    stem.weight = nn.Parameter(empty(stem.out_channels, in_channels, *stem.kernel_size))
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
