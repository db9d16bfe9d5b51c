"""Faults of single samples on their way from worker processes: PyTorch would pass on their text alone, without file and fix."""

from __future__ import annotations

from collections.abc import Sequence

from torch.utils.data import Dataset

from handbone.training.data.dataset import Batch, TrainingSet, TrainSample, collate
from handbone.training.data.sampling import SampleIndex
from handbone.utils.errors import Problem, UserError
from handbone.utils.limits import limit_error


class SamplesOrFaults(Dataset[TrainSample | UserError]):
    """The samples of a training set; in place of one that cannot be computed, the error that says why."""

    def __init__(self, samples: TrainingSet) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, sample_index: SampleIndex) -> TrainSample | UserError:
        try:
            return self._samples[sample_index]
        except UserError as error:
            return error
        except Exception as error:  # of a library, which does not name the file
            return limit_error(error) or self._fault(sample_index, error)

    def _fault(self, sample_index: SampleIndex, error: Exception) -> UserError:
        place, found = str(self._samples.files[sample_index[1]]), f"{type(error).__name__}: {error}"
        fix = "check train.augment, or leave the image out with train.exclude"
        return UserError(Problem("train.sample", place, "a sample that can be augmented", found, fix))


def collate_or_fault(samples: Sequence[TrainSample | UserError]) -> Batch | UserError:
    """N samples -> one batch, or one error with the faults of all."""
    faults = [problem for sample in samples if isinstance(sample, UserError) for problem in sample.problems]
    return UserError(*faults) if faults else collate([sample for sample in samples if not isinstance(sample, UserError)])


def raise_fault(batch: Batch | UserError) -> Batch:
    """The batch; raises the error that is in its place."""
    if isinstance(batch, UserError):
        raise batch
    return batch
