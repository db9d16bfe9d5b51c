"""Pretrained weights of the encoders of segmentation-models-pytorch and timm: from a file, from a package, or how to download them."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from conftest import Fails, build
from handbone.models import connection, pretrained
from handbone.models.builder import IMAGENET_MEAN, IMAGENET_STD
from handbone.models.pretrained import PACKAGES, packaged_weights
from handbone.models.smp import normalisation, stages_of

torch.set_num_threads(1)
SMALL, RENAMED, LITE = "mobilenetv3_small_050", "convnext_atto", "tf_efficientnet_lite0"
TORCHVISION = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d"),
    *("densenet121", "densenet169", "densenet201", "densenet161"),
    *("vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"),
)
# timm's names of the weights that the library's key encoders have
SAME_IN_TIMM = {
    "xception": "legacy_xception.tf_in1k",
    "inceptionv4": "inception_v4.tf_in1k",
    "inceptionresnetv2": "inception_resnet_v2.tf_in1k",
    **{name: f"{name}.mx_in1k" for name in ("dpn68", "dpn68b", "dpn92", "dpn98", "dpn107", "dpn131")},
    **{f"timm-tf_efficientnet_lite{size}": f"tf_efficientnet_lite{size}.in1k" for size in range(5)},
    **{name: f"{name}.tv_in1k" for name in TORCHVISION},
    "resnext101_32x4d": "resnext101_32x4d.fb_swsl_ig1b_ft_in1k",
    "resnext101_32x16d": "resnext101_32x16d.fb_wsl_ig1b_ft_in1k",
    "resnext101_32x32d": "resnext101_32x32d.fb_wsl_ig1b_ft_in1k",
    "senet154": "legacy_senet154.in1k",
    **{f"se_resnet{depth}": f"legacy_seresnet{depth}.in1k" for depth in (50, 101, 152)},
    **{f"se_resnext{size}_32x4d": f"legacy_seresnext{size}_32x4d.in1k" for size in (50, 101)},
    **{f"{key}efficientnet-b{size}": f"tf_efficientnet_b{size}.aa_in1k" for key in ("", "timm-") for size in range(8)},
    "timm-efficientnet-b8": "tf_efficientnet_b8.ra_in1k",
    "timm-efficientnet-l2": "tf_efficientnet_l2.ns_jft_in1k",
    **{f"timm-{name}": f"{name}.ra_in1k" for name in ("skresnet18", "skresnet34", "skresnext50_32x4d")},
    **{name: f"{name}.apple_in1k" for name in (f"mobileone_s{size}" for size in range(5))},
}


class Refused:
    """A class that unpickling must not create."""


def encoder_of(model: nn.Module) -> nn.Module:
    return model.network.encoder


def flat(name: str) -> str:
    return name.removeprefix("model.").replace(".", "_")


def differing(model: nn.Module, state: dict[str, Tensor]) -> list[str]:
    """The names of the encoder's tensors that differ from those of timm's network."""
    given = {flat(name): tensor for name, tensor in state.items()}
    found = {flat(name): tensor for name, tensor in encoder_of(model).state_dict().items()}
    return [name for name, tensor in found.items() if not torch.equal(tensor, given[name])]


def misfitting(state: dict[str, Tensor], missing: str, misshapen: str) -> dict[str, Tensor]:
    wrong = {name: tensor for name, tensor in state.items() if name != missing}
    return wrong | {misshapen: torch.zeros(3), "nowhere.weight": torch.zeros(1)}


@pytest.fixture(scope="module")
def published() -> dict[str, dict[str, Tensor]]:
    """Random weights of whole networks of timm, with the classifier, as in published files."""
    return {name: dict(timm.create_model(name).state_dict()) for name in (SMALL, RENAMED, LITE)}


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_timms_encoder_takes_exactly_the_tensors_of_a_file(suffix: str, published: dict, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(published[SMALL], path)
    assert differing(build("Unet", f"tu-{SMALL}", str(path)), published[SMALL]) == []


def test_a_grey_stem_of_timm_is_the_sum_over_rgb(published: dict, tmp_path: Path) -> None:
    save_file(published[SMALL], tmp_path / "w.safetensors")
    model = build("Unet", f"tu-{SMALL}", str(tmp_path / "w.safetensors"), in_channels=1)
    assert differing(model, published[SMALL] | {"conv_stem.weight": published[SMALL]["conv_stem.weight"].sum(1, keepdim=True)}) == []


def test_timm_needs_no_classifier_in_the_file(published: dict, tmp_path: Path) -> None:
    torch.save({name: tensor for name, tensor in published[RENAMED].items() if not name.startswith("head.")}, tmp_path / "w.pth")
    assert differing(build("Unet", f"tu-{RENAMED}", str(tmp_path / "w.pth")), published[RENAMED]) == []


def test_tables_of_windows_in_old_files_are_ignored(published: dict, tmp_path: Path) -> None:
    save_file(published[SMALL] | {"blocks.0.attn.relative_position_index": torch.zeros(4)}, tmp_path / "w.safetensors")
    assert differing(build("FPN", f"tu-{SMALL}", str(tmp_path / "w.safetensors")), published[SMALL]) == []


def test_all_misfits_of_timms_encoder_are_one_error(published: dict, tmp_path: Path, fails: Fails) -> None:
    torch.save(misfitting(published[RENAMED], "stem.0.weight", "stages.0.blocks.0.conv_dw.weight"), tmp_path / "w.pth")
    with fails("weights.mismatch", "stem.0.weight", "blocks.0.conv_dw.weight", "nowhere.weight") as caught:
        build("Unet", f"tu-{RENAMED}", str(tmp_path / "w.pth"))
    assert len(caught.value.problems) == 3


def test_weights_of_a_larger_version_of_timms_encoder_do_not_fit(published: dict, tmp_path: Path, fails: Fails) -> None:
    larger = published[RENAMED] | {"stages.0.blocks.7.gamma": torch.zeros(40)}
    save_file(larger, tmp_path / "w.safetensors")
    with fails("weights.mismatch", "stages.0.blocks.7.gamma"):
        build("Unet", f"tu-{RENAMED}", str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize(
    ("encoder", "head", "stem"),
    [
        ("resnet18", "fc", "conv1.weight"),
        ("mit_b0", "head", "patch_embed1.proj.weight"),
        ("mobileone_s0", "linear", "stage0.rbr_conv.0.conv.weight"),
        ("timm-skresnet18", "fc", "conv1.weight"),
    ],
)
def test_the_librarys_encoder_takes_exactly_the_tensors_of_a_file(encoder: str, head: str, stem: str, tmp_path: Path) -> None:
    state = dict(smp.encoders.get_encoder(encoder).state_dict())
    torch.save(state | {f"{head}.weight": torch.zeros(2), f"{head}.bias": torch.zeros(2)}, tmp_path / "w.pth")
    grey = encoder_of(build("Unet", encoder, str(tmp_path / "w.pth"), in_channels=1)).state_dict()
    folded = {name for name, tensor in grey.items() if tensor.shape != state[name].shape}
    assert stem in folded and all(torch.equal(grey[name], state[name].sum(1, keepdim=True)) for name in folded)
    assert all(torch.equal(grey[name], state[name]) for name in set(state) - folded) and set(grey) == set(state)


def test_old_names_and_missing_counters_of_batches_fit(tmp_path: Path) -> None:
    state = smp.encoders.get_encoder("densenet121").state_dict()
    old = {name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): tensor for name, tensor in state.items()}
    save_file({name: tensor for name, tensor in old.items() if not name.endswith("num_batches_tracked")}, tmp_path / "w.safetensors")
    found = encoder_of(build("Unet", "densenet121", str(tmp_path / "w.safetensors"))).state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.items())


def test_all_misfits_of_the_librarys_encoder_are_one_error(tmp_path: Path, fails: Fails) -> None:
    state = smp.encoders.get_encoder("resnet18").state_dict()
    uncounted = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    torch.save(misfitting(uncounted, "conv1.weight", "layer1.0.conv1.weight"), tmp_path / "w.pth")
    with fails("weights.mismatch", " conv1.weight", "layer1.0.conv1.weight", "nowhere.weight") as caught:
        build("Unet", "resnet18", str(tmp_path / "w.pth"))
    assert len(caught.value.problems) == 3


def test_the_default_encoder_of_an_architecture_takes_a_file_too(tmp_path: Path) -> None:
    state = smp.encoders.get_encoder("resnet34").state_dict()
    torch.save(state, tmp_path / "w.pth")
    assert torch.equal(encoder_of(build("FPN", weights=str(tmp_path / "w.pth"))).conv1.weight, state["conv1.weight"])


@pytest.mark.parametrize("encoder", ["resnet18", f"tu-{SMALL}"])
def test_a_file_that_needs_unpickling_is_refused(encoder: str, tmp_path: Path, fails: Fails) -> None:
    torch.save({"weight": Refused()}, tmp_path / "w.pth")
    with fails("weights.format", "w.pth"):
        build("Unet", encoder, str(tmp_path / "w.pth"))


def test_the_classifier_of_a_whole_vision_transformer_is_frozen_and_need_not_be_given(tmp_path: Path) -> None:
    name = "vit_tiny_patch16_224"
    state = timm.create_model(name).state_dict()
    torch.save({key: tensor for key, tensor in state.items() if not key.startswith(("head.", "norm."))}, tmp_path / "w.pth")
    encoder = encoder_of(build("DPT", f"tu-{name}", str(tmp_path / "w.pth")))
    frozen = {key.removeprefix("model.") for key, parameter in encoder.named_parameters() if not parameter.requires_grad}
    assert frozen == {"head.weight", "head.bias", "norm.weight", "norm.bias"}
    assert all(torch.equal(tensor, state[key]) for key, tensor in encoder.model.state_dict().items() if key not in frozen)


@pytest.mark.parametrize(
    ("encoder", "url", "file"),
    [
        ("resnet18", "https://huggingface.co/smp-hub/resnet18.imagenet/resolve/", "resnet18.imagenet.safetensors"),
        ("dpn68b", "https://huggingface.co/smp-hub/dpn68b.imagenet-5k/resolve/", "dpn68b.imagenet-5k.safetensors"),
        (f"tu-{SMALL}", f"https://huggingface.co/timm/{SMALL}.lamb_in1k/resolve/main/model", f"{SMALL}.lamb_in1k.safetensors"),
        ("tu-convnext_atto.d2_in1k", "https://huggingface.co/timm/convnext_atto.d2_in1k/", "convnext_atto.d2_in1k.safetensors"),
    ],
)
@pytest.mark.parametrize(("fault", "code"), [("no answer", "weights.download"), (None, "model.build")])
def test_without_a_connection_the_error_says_what_to_download_and_where_to_put_it(
    fault: str | None, code: str, encoder: str, url: str, file: str, monkeypatch: pytest.MonkeyPatch, fails: Fails
) -> None:
    """Where nothing answers, the libraries are not even asked; where something does, they may fail all the same."""
    asked = []

    def fail(*arguments: object, **_: object) -> None:
        asked.append(arguments)
        raise OSError("no such file")

    monkeypatch.setattr(connection, "is_cached", lambda url: False)
    monkeypatch.setattr(connection, "unreachable", lambda url: fault)
    monkeypatch.setattr(smp.encoders, "hf_hub_download", fail)
    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_hf", fail)
    with fails(code) as caught:
        build("Unet", encoder, "imagenet")
    fix = caught.value.problems[0].fix
    assert f"download {url}" in fix and f"into weights/ as {file} and set model.weights={file}" in fix
    assert not asked or fault is None


def test_the_librarys_encoders_have_the_normalisation_of_their_weights() -> None:
    """The library downloads a file for it; timm has the same weights under other names, with the values in its code."""
    expected = {encoder: timm.get_pretrained_cfg(name) for encoder, name in SAME_IN_TIMM.items()}
    found = {encoder: normalisation(encoder) for encoder in expected}
    assert found == {encoder: (config.mean, config.std) for encoder, config in expected.items()}


def test_encoders_that_timm_does_not_have_are_normalised_as_imagenet() -> None:
    """The test above compares all others: look up an encoder that comes with a new version of the library."""
    rest = set(smp.encoders.get_encoder_names()) - set(SAME_IN_TIMM)
    assert rest == {"mobilenet_v2", "resnext101_32x48d", *(f"mit_b{size}" for size in range(6))}
    assert {normalisation(encoder) for encoder in rest} == {(IMAGENET_MEAN, IMAGENET_STD)}


@pytest.mark.parametrize(("channels", "mean"), [(3, [124 / 255, 117 / 255, 104 / 255]), (1, [(124 + 117 + 104) / 3 / 255])])
def test_the_normalisation_of_the_librarys_encoder_reaches_the_model(channels: int, mean: list[float]) -> None:
    model = build("Unet", "dpn68", in_channels=channels)
    assert model.mean.flatten().tolist() == pytest.approx(mean)
    assert model.std.flatten().tolist() == pytest.approx([1 / (0.0167 * 255)] * channels)


def install(folder: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """A package like the real one: other names, in timm's order; importing its code fails."""
    package = folder / PACKAGES[LITE]
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('its code was run')\n")
    torch.save({f"_{index}": tensor for index, tensor in enumerate(state.values())}, package / "models" / "efficientnet-lite0-0.pth")
    monkeypatch.syspath_prepend(folder)


@pytest.mark.parametrize("tag", ["", ".in1k"])
def test_an_installed_package_is_used_instead_of_a_download(
    tag: str, published: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, published[LITE], monkeypatch)
    assert differing(build("Unet", f"tu-{LITE}{tag}", "imagenet"), published[LITE]) == []


def test_a_package_with_tensors_of_other_shapes_is_refused(
    published: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails
) -> None:
    install(tmp_path, dict(reversed(published[LITE].items())), monkeypatch)
    with fails("weights.mismatch", "efficientnet-lite0-0.pth"):
        build("Unet", f"tu-{LITE}", "imagenet")


def test_without_a_package_there_are_no_packaged_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packaged_weights("resnet18.a1_in1k") is None
    monkeypatch.setattr(pretrained, "find_spec", lambda _: None)
    assert packaged_weights(LITE) is None


@pytest.mark.parametrize("name", [name for name in PACKAGES if find_spec(PACKAGES[name])])
def test_the_real_package_fits(name: str) -> None:
    state = packaged_weights(name)
    assert state is not None and differing(build("Unet", f"tu-{name}", "imagenet"), state) == []


@pytest.mark.parametrize(
    ("encoder", "firsts"),
    [
        ("resnet18", ["conv1.", "layer2.", "layer3.", "layer4."]),
        ("mit_b0", ["patch_embed1.", "patch_embed2.", "patch_embed3.", "patch_embed4."]),
        ("tu-resnet10t", ["model.conv1.", "model.layer2.", "model.layer3.", "model.layer4."]),
        ("tu-convnext_atto", ["model.stem_0.", "model.stages_1.", "model.stages_2.", "model.stages_3."]),
        ("timm-efficientnet-b0", ["conv_stem.", *(f"blocks.{index}." for index in range(1, 7))]),
        ("densenet121", ["features.conv0.", *(f"features.denseblock{index}." for index in range(1, 5))]),
    ],
)
def test_the_numbers_in_the_names_of_an_encoders_parts_are_its_stages(encoder: str, firsts: list[str]) -> None:
    built = smp.encoders.get_encoder(encoder, weights=None)
    stages = list(stages_of(built))
    assert [stage[0].startswith(first) for stage, first in zip(stages, firsts, strict=True)] == [True] * len(firsts)
    assert sorted(name for stage in stages for name in stage) == sorted(name for name, _ in built.named_parameters())
