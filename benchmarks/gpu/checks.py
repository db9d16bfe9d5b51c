"""What must be equal on a GPU and on a CPU. Without a GPU both sides are the CPU: the checks run, and say little."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, nn

from benchmarks.gpu.data import cached_files, training_set
from benchmarks.gpu.measure import NO_GPU, device, seconds
from benchmarks.gpu.parameters import parameters
from benchmarks.gpu.record import Record
from benchmarks.gpu.runner import Setup
from handbone.cache.resize import channels_first, resized
from handbone.cache.sample import read_sample
from handbone.config.params import CrfParams, Params
from handbone.inference.crf import mean_field
from handbone.inference.predictor import InputSpec, predict
from handbone.inference.tta import ensemble
from handbone.models.precision import autocast_dtype
from handbone.models.registry import build_model, spec_from_params
from handbone.models.spec import ModelSpec
from handbone.training.data.dataset import collate
from handbone.training.losses import LOSSES, build_loss
from handbone.training.staging import stage
from handbone.training.target_buffer import TargetBuffer

CPU = torch.device("cpu")
BATCHES = ((0, 4), (4, 3), (7, 4))  # first sample and number of samples: a smaller batch must leave nothing of the larger one
IMAGES, BATCH = 7, 2


def checks(record: Record, setup: Setup) -> None:
    """Differences; 0 or rounding is right."""
    if device() == CPU:
        record.skip("gpu_against_cpu", NO_GPU)
    params = parameters(setup, {"train.size": 64 if setup.tiny else 512, "infer.batch_size": BATCH})
    with record.guard("targets"):
        difference, target = _targets(params)
        record.put("targets_max_difference", difference)
    for name in LOSSES:
        with record.guard(f"loss_{name}"):
            record.put(f"loss_{name}", _loss(name, target))
    with record.guard("predictor"):
        record.put("predictor_steps_of_255", _predictor(params))
    with record.guard("crf"):
        record.put("crf_max_difference", _crf_difference())
        record.put("crf_s_per_image", _crf_seconds(64 if setup.tiny else 1024))
    with record.guard("sync_batch_norm"):
        record.put("sync_batch_norm_max_difference", _sync_batch_norm())


def _targets(params: Params) -> tuple[float, Tensor]:
    """The largest difference of the dense targets, and the last of them, (N, C, h, w)."""
    samples = training_set(params, cached_files())
    buffers, worst = [TargetBuffer(CPU), TargetBuffer(device())], 0.0
    for first, count in BATCHES:
        batch = collate([samples[(1, first + index, 0)] for index in range(count)])
        on_cpu, on_device = (buffer.fill(stage(batch, place).target).cpu() for buffer, place in zip(buffers, (CPU, device()), strict=True))
        worst = max(worst, float((on_cpu - on_device).abs().max()))
    return worst, on_cpu.clone()


def _loss(name: str, target: Tensor) -> dict[str, float]:
    """Value and gradient of one loss."""
    torch.manual_seed(0)
    logits = torch.randn_like(target)
    (value, gradient), (other, other_gradient) = (_value_and_gradient(name, logits, target, place) for place in (CPU, device()))
    return {"difference": other - value, "gradient_relative": float((gradient - other_gradient).norm() / gradient.norm())}


def _value_and_gradient(name: str, logits: Tensor, target: Tensor, place: torch.device) -> tuple[float, Tensor]:
    leaf = logits.detach().to(place).requires_grad_()
    value = build_loss({name: 1.0}, [1.0] * target.shape[1])(leaf, target.to(place), torch.ones(len(target), device=place))
    value.backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    return float(value.detach()), leaf.grad.cpu()


def _predictor(params: Params) -> dict[str, float]:
    """The queue of `predict` (pinned memory, asynchronous copies) against one batch after the other."""
    place = device()
    model = build_model(spec_from_params(params.model, params.data.classes)).eval()
    model.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    predictor = ensemble([model], params.infer)
    files = {file.stem: file for file in cached_files(IMAGES)}
    spec = InputSpec(params.train.size, params.model.in_channels, BATCH, place, params.train.precision)
    queued = np.stack([maps.dense() for _, maps in predict(predictor, files, spec)]).astype(int)
    dtype = autocast_dtype(params.train.precision, place)
    plain = []
    with torch.inference_mode(), torch.autocast(place.type, dtype, enabled=dtype is not None):
        for first in range(0, IMAGES, BATCH):
            images = torch.from_numpy(_images(list(files.values())[first : first + BATCH], params.train.size)).to(place)
            plain.append(predictor(images.float().div_(255)).cpu().numpy())
    steps = np.abs(np.concatenate(plain) - queued)
    return {"max": int(steps.max()), "share_over_1": float((steps > 1).mean())}


def _images(files: Sequence[Path], size: int) -> NDArray[np.uint8]:
    """(N, 1, size, size) of square cached images."""
    return np.stack([channels_first(resized(read_sample(file).image, (size, size))) for file in files])


def _crf_difference() -> float:
    torch.manual_seed(0)
    logits, image = torch.randn(1, 3, 64, 64), torch.rand(1, 1, 64, 64)
    refined = [mean_field(logits.to(place), image.to(place), CrfParams()).cpu() for place in (CPU, device())]
    return float((refined[0] - refined[1]).abs().max())


def _crf_seconds(side: int) -> float:
    logits, image = torch.randn(1, 29, side, side, device=device()), torch.rand(1, 1, side, side, device=device())
    return seconds(lambda: mean_field(logits, image, CrfParams()), 1)


def _sync_batch_norm() -> dict[str, float]:
    """The outputs of a network with activations inside its norms, before and after each library's conversion; on the CPU."""
    torch.manual_seed(0)
    model = build_model(ModelSpec("Unet", "tu-tf_efficientnetv2_s", 1, ["bone"])).eval()
    image = torch.rand(1, 1, 64, 64)
    converted = {
        "torch": nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model)),  # type: ignore[no-untyped-call]
        "timm": convert_sync_batchnorm(copy.deepcopy(model)),  # type: ignore[no-untyped-call]
    }
    with torch.no_grad():
        expected = model(image)
        return {name: float((other.eval()(image) - expected).abs().max()) for name, other in converted.items()}
