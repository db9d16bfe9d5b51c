"""The segmentation networks of torchvision.

FCN (Long, Shelhamer and Darrell, CVPR 2015) and DeepLabV3 (Chen et al., Rethinking Atrous Convolution for Semantic Image Segmentation,
arXiv 2017) on dilated ResNets; DeepLabV3 and LR-ASPP (Howard et al., Searching for MobileNetV3, ICCV 2019) on MobileNetV3.
"""

from __future__ import annotations

from torch import Tensor, empty, nn
from torchvision.models import MobileNet_V3_Large_Weights, ResNet50_Weights, ResNet101_Weights, WeightsEnum
from torchvision.models.segmentation import deeplabv3, fcn, lraspp

from handbone.models.builder import Stages, with_prefix
from handbone.models.outputs import Auxiliary, Outputs
from handbone.models.pretrained import IMAGENET, State, download, load_into, read_weights, without

AUXILIARY_WEIGHT = 0.4
RESNET50, RESNET101, MOBILENET = (  # the weights from which torchvision trains these networks
    ResNet50_Weights.IMAGENET1K_V1,
    ResNet101_Weights.IMAGENET1K_V1,
    MobileNet_V3_Large_Weights.IMAGENET1K_V1,
)
RESNET_STAGES: Stages = (("conv1.", "bn1.", "layer1."), ("layer2.",), ("layer3.",), ("layer4.",))
# MobileNetV3's layers, divided where the map is halved (or the dilation doubled)
MOBILENET_STAGES: Stages = [
    [f"{layer}." for layer in layers] for layers in (range(2), range(2, 4), range(4, 7), range(7, 13), range(13, 17))
]


class Segmenter(nn.Module):
    """A network of torchvision, which returns a dictionary, as (N, in_channels, H, W) -> logits (N, classes, H, W)."""

    def __init__(self, network: nn.Module, stages: Stages) -> None:
        super().__init__()
        self.network = network
        self.encoder_stages = with_prefix("network.backbone.", stages)

    def forward(self, images: Tensor) -> Tensor | Outputs:
        """(N, in_channels, H, W) -> (N, classes, H, W) logits; in training `Outputs` with those of the auxiliary head, if there is one."""
        outputs = self.network(images)
        logits: Tensor = outputs["out"]
        if self.training and "aux" in outputs:
            return Outputs(logits, (Auxiliary(outputs["aux"], AUXILIARY_WEIGHT),))
        return logits


def fcn_resnet50(in_channels: int, classes: int, weights: str | None = None, aux_loss: bool = False) -> Segmenter:
    """FCN: a 3x3 and a 1x1 convolution on ResNet-50 at 1/8; (N, in_channels, H, W) -> logits (N, classes, H, W).

    aux_loss: a second head on the third stage. Raises `UserError` (`weights.*`) if the weights cannot be used.
    """
    network = fcn.fcn_resnet50(weights_backbone=None, num_classes=classes, aux_loss=aux_loss)
    return _with_weights(network, in_channels, weights, RESNET50, RESNET_STAGES)


def fcn_resnet101(in_channels: int, classes: int, weights: str | None = None, aux_loss: bool = False) -> Segmenter:
    """FCN as `fcn_resnet50`, on ResNet-101."""
    network = fcn.fcn_resnet101(weights_backbone=None, num_classes=classes, aux_loss=aux_loss)
    return _with_weights(network, in_channels, weights, RESNET101, RESNET_STAGES)


def deeplabv3_resnet50(in_channels: int, classes: int, weights: str | None = None, aux_loss: bool = False) -> Segmenter:
    """DeepLabV3: atrous spatial pyramid pooling on ResNet-50 at 1/8; (N, in_channels, H, W) -> logits (N, classes, H, W).

    aux_loss: a small second head on the third stage. Raises `UserError` (`weights.*`) if the weights cannot be used.
    """
    network = deeplabv3.deeplabv3_resnet50(weights_backbone=None, num_classes=classes, aux_loss=aux_loss)
    return _with_weights(network, in_channels, weights, RESNET50, RESNET_STAGES)


def deeplabv3_resnet101(in_channels: int, classes: int, weights: str | None = None, aux_loss: bool = False) -> Segmenter:
    """DeepLabV3 as `deeplabv3_resnet50`, on ResNet-101."""
    network = deeplabv3.deeplabv3_resnet101(weights_backbone=None, num_classes=classes, aux_loss=aux_loss)
    return _with_weights(network, in_channels, weights, RESNET101, RESNET_STAGES)


def deeplabv3_mobilenet_v3_large(in_channels: int, classes: int, weights: str | None = None, aux_loss: bool = False) -> Segmenter:
    """DeepLabV3 as `deeplabv3_resnet50`, on MobileNetV3 at 1/16. aux_loss: a small second head on its middle."""
    network = deeplabv3.deeplabv3_mobilenet_v3_large(weights_backbone=None, num_classes=classes, aux_loss=aux_loss)
    return _with_weights(network, in_channels, weights, MOBILENET, MOBILENET_STAGES)


def lraspp_mobilenet_v3_large(in_channels: int, classes: int, weights: str | None = None) -> Segmenter:
    """LR-ASPP: a gated 1x1 convolution on MobileNetV3 at 1/16 and a skip from 1/8; (N, in_channels, H, W) -> logits (N, classes, H, W).

    Raises `UserError` (`weights.*`) if the weights cannot be used.
    """
    network = lraspp.lraspp_mobilenet_v3_large(weights_backbone=None, num_classes=classes)
    return _with_weights(network, in_channels, weights, MOBILENET, MOBILENET_STAGES)


def _with_weights(network: nn.Module, in_channels: int, weights: str | None, published: WeightsEnum, stages: Stages) -> Segmenter:
    """Give the backbone `in_channels` input channels, and the published weights or those of a file."""
    backbone = network.get_submodule("backbone")
    if in_channels != 3:
        _replace_first_convolution(backbone, in_channels)
    if weights is not None:
        state = download(published.url) if weights == IMAGENET else read_weights(weights)
        load_into(backbone, _of_backbone(state), published.url if weights == IMAGENET else weights)
    return Segmenter(network, stages)


def _of_backbone(state: State) -> State:
    """Translate a classification network's names: without its classifier, and without MobileNet's prefix."""
    return without({name.removeprefix("features."): tensor for name, tensor in state.items()}, ("fc.", "classifier."))


def _replace_first_convolution(backbone: nn.Module, in_channels: int) -> None:
    """Give the first convolution `in_channels`, with random weights from the distribution that torchvision uses."""
    first = next(module for module in backbone.modules() if isinstance(module, nn.Conv2d))
    first.in_channels = in_channels
    first.weight = nn.Parameter(empty(first.out_channels, in_channels, *first.kernel_size))
    nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
