"""Earlier weights for the same classes in another order."""

import pytest
import torch

from handbone.models import class_order
from handbone.models.class_order import reorder_classes
from handbone.models.registry import ENTRIES, build_model
from handbone.models.spec import ModelSpec
from small_networks import SMALL

CLASSES = ["a", "b", "c"]
LARGER = ("SegformerB1", "SegformerB2", "SegformerB3", "SegformerB4", "SegformerB5", "HRNetW32", "HRNetW48", "HRNetW32OCR", "HRNetW48OCR")
QUICK = ("Unet", "FCN8s", "DeepLabV2VGG", "UNet3Plus", "SegNet", "FCDenseNet56")
OPTIONS = {"UNet3Plus": {"cgm": True}, "FCN_ResNet50": {"aux_loss": True}, "DilatedNet": {"context": "large"}}


@torch.no_grad()
def trained(spec: ModelSpec) -> dict[str, torch.Tensor]:
    """Weights that differ from class to class, also where a network starts from equal ones."""
    torch.manual_seed(0)
    model = build_model(spec)
    for parameter in model.parameters():
        parameter += 0.01 * torch.randn_like(parameter)
    return model.state_dict()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in ENTRIES if name not in LARGER]
)
@torch.no_grad()
def test_a_network_gives_each_class_the_same_logits_afterwards(name: str) -> None:
    """The heads that only training uses are reordered too."""
    encoder = "tu-vit_tiny_patch16_224" if name == "DPT" else "resnet18" if ENTRIES[name].takes_encoder else None
    spec = ModelSpec(name, encoder, 1, CLASSES, SMALL.get(name, {}) | OPTIONS.get(name, {}))
    state, order = trained(spec), ["c", "a", "b"]
    random = torch.random.get_rng_state()
    found = reorder_classes(state, spec, order)
    assert torch.equal(torch.random.get_rng_state(), random)
    assert found is not None and found.keys() == state.keys()
    model = build_model(spec).eval()
    images = torch.rand(2, 1, 64, 80)
    model.load_state_dict(state)
    before = model(images)
    model.load_state_dict(found)
    after = model(images)
    assert not torch.allclose(before, after, rtol=1e-3)
    torch.testing.assert_close(after, before[:, [2, 0, 1]], rtol=1e-3, atol=1e-4 * float(before.abs().max()))


def test_other_tensors_stay_even_if_they_have_as_many_channels_as_there_are_classes() -> None:
    spec = ModelSpec("Unet", "resnet18", 1, [str(number) for number in range(16)], {"decoder_channels": [16, 16, 16, 16, 16]})
    state = trained(spec)
    found = reorder_classes(state, spec, list(reversed(spec.classes)))
    assert found is not None
    changed = [name for name in state if not torch.equal(state[name], found[name])]
    assert changed == ["network.segmentation_head.0.weight", "network.segmentation_head.0.bias"]
    assert torch.equal(found[changed[0]], state[changed[0]].flip(0))


def test_it_is_refused_if_the_network_computes_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModelSpec("Unet", "resnet18", 1, CLASSES, {})
    monkeypatch.setattr(class_order, "_class_axes", lambda spec: {})
    assert reorder_classes(build_model(spec).state_dict(), spec, ["c", "a", "b"]) is None
