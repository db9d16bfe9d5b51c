"""The mean field agrees with densecrf's and with a brute-force version; it restores edges, class by class and image by image."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from handbone.config.params import CrfParams
from handbone.inference.crf import mean_field

EXACT = CrfParams(  # crf_reference.py's
    iterations=5,
    gaussian_weight=1.5,
    gaussian_sigma=3,
    bilateral_weight=2.5,
    bilateral_sigma=12,
    bilateral_contrast=20,
    radius=48,
    stride=1,
)


def replace(settings: CrfParams, **changes: float) -> CrfParams:
    return settings.model_copy(update=changes)


KERNELS = {"gaussian": replace(EXACT, bilateral_weight=0), "bilateral": replace(EXACT, gaussian_weight=0), "both": EXACT}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    return dict(np.load(Path(__file__).with_name("crf_reference.npz")))


def tensors(image: np.ndarray, logits: np.ndarray) -> tuple[Tensor, Tensor]:
    """(h, w, 3) uint8 and (h, w) -> logits (1, 1, h, w) and image (1, 3, h, w)."""
    return torch.from_numpy(logits)[None, None], torch.from_numpy(image).permute(2, 0, 1)[None] / 255


def dense_kernel(features: np.ndarray, reached: np.ndarray | bool = True) -> np.ndarray:
    """(pixels, features) in standard deviations -> (pixels, pixels), normalised symmetrically."""
    kernel = np.exp(-((features[:, None] - features) ** 2).sum(2) / 2) * reached
    scale = 1 / np.sqrt(kernel.sum(0))
    return scale[:, None] * kernel * scale


def brute_force(image: np.ndarray, logits: np.ndarray, settings: CrfParams) -> np.ndarray:
    """The mean field of Kraehenbuehl and Koltun with both labels, as a sum over all pairs of pixels -> logits (h, w)."""
    places = np.stack(np.mgrid[: logits.shape[0], : logits.shape[1]], 2).reshape(-1, 2).astype(float)
    reached = (np.abs(places[:, None] - places) <= settings.radius).all(2)
    colours = image.reshape(-1, 3) / settings.bilateral_contrast
    kernel = settings.gaussian_weight * dense_kernel(places / settings.gaussian_sigma)
    kernel += settings.bilateral_weight * dense_kernel(np.hstack([places / settings.bilateral_sigma, colours]), reached)
    energies = np.logaddexp(0, np.stack([logits, -logits]).reshape(2, -1).astype(float))
    scores = -energies
    for _ in range(settings.iterations):
        marginals = np.exp(scores) / np.exp(scores).sum(0)
        scores = -energies - marginals[::-1] @ kernel  # Potts: the cost of pixels with the other label
    return (scores[1] - scores[0]).reshape(logits.shape)


@pytest.mark.parametrize(("kernels", "largest", "mean"), [("gaussian", 0.015, 0.002), ("bilateral", 0.05, 0.005), ("both", 0.08, 0.004)])
def test_the_exact_form_agrees_with_densecrf_up_to_its_lattice(reference, kernels, largest, mean):
    """densecrf's permutohedral lattice is an approximation: probabilities differ by up to .06 in single pixels, by .004 on average."""
    logits, image = tensors(reference["image"], reference["logits"])
    differences = np.abs(mean_field(logits, image, KERNELS[kernels]).sigmoid()[0, 0].numpy() - reference[kernels])
    assert np.abs(logits.sigmoid()[0, 0].numpy() - reference[kernels]).mean() > 0.05  # so that the comparison means something
    assert differences.max() < largest
    assert differences.mean() < mean


@pytest.mark.parametrize("radius", [48, 5, 1])
@pytest.mark.parametrize("kernels", KERNELS)
def test_stride_1_agrees_with_the_sum_over_all_pairs(reference, kernels, radius):
    image, logits = reference["image"][8:27, 5:34], reference["logits"][8:27, 5:34]
    settings = replace(KERNELS[kernels], radius=radius)
    refined = mean_field(*tensors(image, logits), settings)[0, 0].numpy()
    np.testing.assert_allclose(refined, brute_force(image, logits, settings), atol=1e-4)


def noisy_edge(size: int = 160, shift: int = 6, flipped: float = 0.25, slant: float = 0) -> tuple[Tensor, Tensor, Tensor]:
    """A step edge, logits of it (1, 1, h, w) that are shifted and partly of the wrong sign, its image (1, 1, h, w) with noise."""
    generator = torch.Generator().manual_seed(0)
    places = torch.arange(size)
    truth = places < size // 2 + slant * (places[:, None] - size // 2)
    wrong = torch.rand(size, size, generator=generator) < flipped
    logits = ((truth.roll(shift, 1) ^ wrong).float() * 2 - 1)[None, None]
    image = (100 + 60 * truth + 5 * torch.randn(size, size, generator=generator)) / 255
    return truth, logits, image.clamp(0, 1)[None, None]


def accuracy(logits: Tensor, truth: Tensor) -> float:
    return ((logits[0, 0] > 0) == truth)[:, 12:-12].float().mean().item()  # without the border, over which logits were rolled


@pytest.mark.parametrize("settings", [CrfParams(), CrfParams(stride=2, radius=24)])
def test_a_noisy_shifted_edge_is_restored(settings):
    truth, logits, image = noisy_edge()
    assert accuracy(logits, truth) < 0.75
    assert accuracy(mean_field(logits, image, settings), truth) > 0.99


def test_an_edge_is_restored_to_the_pixel_although_cells_are_coarser():
    """If messages were upsampled without regard to the image, the accuracy would be .99."""
    truth, logits, image = noisy_edge(shift=3, flipped=0, slant=0.3)
    assert accuracy(mean_field(logits, image, CrfParams()), truth) > 0.998


def test_an_error_wider_than_the_radius_stays():
    truth, logits, image = noisy_edge(shift=12, flipped=0)
    near, far = (accuracy(mean_field(logits, image, CrfParams(radius=radius, stride=2)), truth) for radius in (4, 40))
    assert near < 0.98 < 0.99 < far


def smooth(classes: int = 3, channels: int = 3, images: int = 2, height: int = 64, width: int = 96) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(images, classes + channels, 4, 6, generator=generator)
    maps = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    return 2 * maps[:, :classes], (maps[:, classes:] / 20 + 0.5).clamp(0, 1)


def test_classes_are_independent_so_overlaps_survive():
    logits, images = smooth()
    overlapping = torch.cat([logits, logits, -logits], 1)
    refined = mean_field(overlapping, images, CrfParams())
    torch.testing.assert_close(refined[:, :3], mean_field(logits, images, CrfParams()))
    torch.testing.assert_close(refined[:, 3:6], refined[:, :3])
    torch.testing.assert_close(refined[:, 6:], -refined[:, :3])


def test_images_of_a_batch_are_independent():
    logits, images = smooth()
    refined = mean_field(logits, images, CrfParams())
    for index in range(2):
        torch.testing.assert_close(
            refined[index : index + 1], mean_field(logits[index : index + 1], images[index : index + 1], CrfParams())
        )


def test_in_a_plain_image_the_bilateral_kernel_is_a_gaussian():
    logits, images = smooth()
    bilateral = CrfParams(gaussian_weight=0, bilateral_sigma=4, bilateral_weight=3, radius=40, stride=2)
    gaussian = CrfParams(gaussian_weight=3, gaussian_sigma=4, bilateral_weight=0, stride=2)
    plain = torch.full_like(images, 0.4)
    torch.testing.assert_close(mean_field(logits, plain, bilateral), mean_field(logits, images, gaussian), atol=1e-4, rtol=0)


def test_without_weights_logits_are_unchanged():
    logits, images = smooth()
    assert torch.equal(mean_field(logits, images, CrfParams(gaussian_weight=0, bilateral_weight=0)), logits)


def test_a_grey_image_counts_as_three_equal_channels():
    logits, images = smooth(channels=1)
    grey = mean_field(logits, images, CrfParams())
    assert torch.equal(grey, mean_field(logits, images.repeat(1, 3, 1, 1), CrfParams()))
    almost = images.repeat(1, 3, 1, 1)
    almost[:, 1] += 1e-6  # so that the three are computed as three
    torch.testing.assert_close(grey, mean_field(logits, almost, CrfParams()), atol=1e-2, rtol=0)


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize(("height", "width"), [(64, 96), (61, 95)])
def test_cells_come_close_to_pixels_where_all_is_smooth(stride, height, width):
    logits, images = smooth(images=1, height=height, width=width)
    settings = CrfParams(iterations=3, bilateral_sigma=12, bilateral_contrast=40, radius=24, stride=1)
    pixels, cells = (mean_field(logits, images, replace(settings, stride=divisor)).sigmoid() for divisor in (1, stride))
    assert (pixels - logits.sigmoid()).abs().mean() > 0.1
    assert (pixels - cells).abs().mean() < 0.003 * stride
    assert ((pixels > 0.5) != (cells > 0.5)).float().mean() < 0.005 * stride


def test_half_precision_and_autocast_change_nothing_but_the_input():
    logits, images = smooth()
    half = logits.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        refined = mean_field(half, images, CrfParams())
    assert refined.dtype == torch.float32
    torch.testing.assert_close(refined, mean_field(half.float(), images, CrfParams()))


def test_the_input_is_left_alone_and_a_map_smaller_than_a_cell_works():
    logits, images = smooth()
    before = logits.clone(), images.clone()
    mean_field(logits, images, CrfParams())
    assert torch.equal(logits, before[0]) and torch.equal(images, before[1])
    assert mean_field(logits[..., :3, :1], images[..., :3, :1], CrfParams()).isfinite().all()


def test_images_that_do_not_belong_are_refused():
    logits, images = smooth()
    with pytest.raises(ValueError, match="do not belong to images"):
        mean_field(logits, images[..., 1:], CrfParams())
