"""Batches keep their order and their precision, and their work overlaps."""

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from handbone.cache.sample import CachedSample, write_sample
from handbone.inference.predictor import InputSpec, from_model, predict, share, to_uint8
from handbone.masks.cropped_maps import CroppedMaps
from handbone.utils.parallel import prefetch_map


def inputs(size: int, channels: int = 1, batch_size: int = 1, precision: str = "auto") -> InputSpec:
    return InputSpec(size, channels, batch_size, torch.device("cpu"), precision)


def samples(folder: Path, *images: np.ndarray) -> dict[str, Path]:
    """Cached samples with the keys 0, 1, ..."""
    files = {str(index): folder / f"{index}.npz" for index in range(len(images))}
    for file, image in zip(files.values(), images, strict=True):
        write_sample(file, CachedSample(image, image.shape[:2], None))
    return files


def test_probabilities_are_rounded() -> None:
    assert to_uint8(torch.tensor([0, 0.4 / 255, 0.6 / 255, 0.5, 1])).tolist() == [0, 0, 1, 128, 255]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_cpu_a_model_keeps_its_logits(dtype: torch.dtype) -> None:
    logits = torch.randn(2, 5, 17, 23).to(dtype)
    found = from_model(lambda _: logits)(torch.zeros(2, 1, 17, 23))
    assert found.dtype == torch.float32 and torch.equal(found, logits.float())


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_images_of_mixed_shapes_come_out_in_order_with_their_keys(tmp_path: Path, batch_size: int) -> None:
    shapes = [(40, 60), (40, 60), (60, 40), (20, 30), (40, 60)]
    files = samples(tmp_path, *(np.full(shape, 40 * index, np.uint8) for index, shape in enumerate(shapes)))
    found = dict(predict(from_model(nn.Identity()), files, inputs(30, batch_size=batch_size)))
    assert list(found) == list(files)
    assert [maps.shape for maps in found.values()] == [(20, 30), (20, 30), (30, 20), (20, 30), (20, 30)]
    for index, maps in enumerate(found.values()):
        assert np.unique(maps.dense()).tolist() == [round(255 / (1 + np.exp(-40 * index / 255)))]


def test_a_batch_holds_images_of_one_shape_and_no_more_than_asked_for(tmp_path: Path) -> None:
    batches: list[tuple[int, ...]] = []

    def predictor(images: Tensor) -> Tensor:
        batches.append(tuple(images.shape))
        return images

    files = samples(tmp_path, *(np.zeros(shape, np.uint8) for shape in [(8, 8), (8, 8), (8, 8), (8, 4), (8, 8)]))
    assert len(list(predict(predictor, files, inputs(8, batch_size=2)))) == 5
    assert batches == [(2, 1, 8, 8), (1, 1, 8, 8), (1, 1, 8, 4), (1, 1, 8, 8)]


@pytest.mark.parametrize("world_size", [2, 3])
def test_shares_are_predicted_in_the_batches_of_the_whole(tmp_path: Path, world_size: int) -> None:
    """Also where images of another shape end a batch early: the last bits of a result may depend on its batch."""
    shapes = [(8, 8), (8, 4), (8, 8), (8, 8), (8, 8), (4, 8), (8, 8)]
    files = samples(tmp_path, *(np.full(shape, index, np.uint8) for index, shape in enumerate(shapes)))

    def batches(part: Mapping[str, Path]) -> list[list[int]]:
        """The batches' grey values, which are the numbers of the images."""
        found: list[list[int]] = []

        def predictor(images: Tensor) -> Tensor:
            found.append((255 * images[:, 0, 0, 0]).round().int().tolist())
            return images

        assert [key for key, _ in predict(predictor, part, inputs(8, batch_size=3))] == list(part)
        return found

    parts = [share(files, 3, rank, world_size) for rank in range(world_size)]
    assert sorted(key for part in parts for key in part) == sorted(files)
    assert sorted(batch for part in parts for batch in batches(part)) == batches(files)


def test_a_grey_image_is_repeated_for_a_network_of_three_channels(tmp_path: Path) -> None:
    files = samples(tmp_path, np.full((20, 30), 255, np.uint8))
    ((key, found),) = predict(to_uint8, files, inputs(30, channels=3))
    assert key == "0" and (found.dense() == 255).all() and found.dense().shape == (3, 20, 30)


def test_precision_is_that_of_the_parameters(tmp_path: Path) -> None:
    """On a CPU `auto` and `no` compute in float32, `bf16` does not."""
    files = samples(tmp_path, np.random.default_rng(0).integers(0, 255, (16, 16), np.uint8))
    torch.manual_seed(0)
    convolution, dtypes = nn.Conv2d(1, 4, 3), []

    def model(images: Tensor) -> Tensor:
        logits = convolution(images)
        dtypes.append(logits.dtype)
        return logits

    def values(precision: str) -> np.ndarray:
        ((_, maps),) = predict(from_model(model), files, inputs(16, precision=precision))
        return maps.values

    auto, no, bf16 = (values(precision) for precision in ("auto", "no", "bf16"))
    assert dtypes == [torch.float32, torch.float32, torch.bfloat16]
    assert np.array_equal(auto, no) and not np.array_equal(no, bf16)
    with torch.no_grad():
        image = torch.from_numpy(np.load(files["0"])["image"])[None, None] / 255
        assert np.array_equal(no, CroppedMaps.from_maps(convolution(image)[0].numpy()).values)


def test_what_follows_runs_beside_the_network(tmp_path: Path) -> None:
    """The first image is still being processed when the network runs on the third: neither waits for the other."""
    third_ran, calls = threading.Event(), []

    def network(images: Tensor) -> Tensor:
        calls.append(len(images))
        if len(calls) == 3:
            third_ran.set()
        return images.to(torch.uint8)

    files = samples(tmp_path, *(np.full((8, 8), index, np.uint8) for index in range(3)))
    assert list(prefetch_map(lambda _: third_ran.wait(10), predict(network, files, inputs(8)))) == [True] * 3


def test_memory_is_bounded(tmp_path: Path) -> None:
    """The network runs only a few images ahead of the consumer, however many there are."""
    calls: list[int] = []

    def counted(model: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda images: (calls.append(len(images)), model(images))[1]

    (file,) = samples(tmp_path, np.zeros((8, 8), np.uint8)).values()
    found: Iterator[tuple[str, CroppedMaps]] = predict(counted(nn.Identity()), {str(index): file for index in range(200)}, inputs(8))
    next(found)
    assert sum(calls) < 50
    assert len(list(found)) == 199 and sum(calls) == 200
