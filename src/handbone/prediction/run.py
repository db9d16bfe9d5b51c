"""From pictures to files of masks, image by image; a file that is no picture does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from handbone.cache.resize import UInt8Image, shrink
from handbone.formats.images import Window
from handbone.prediction.model import Model, Prepared
from handbone.prediction.outputs import Predicted, write_outputs
from handbone.prediction.overlay import LONGEST
from handbone.prediction.pictures import Picture, find_pictures, read
from handbone.utils.errors import Problem, UserError, raise_if_any
from handbone.utils.io import new_folder
from handbone.utils.parallel import prefetch_map


@dataclass(frozen=True, eq=False)
class _Shown:
    """What travels beside an image through the networks."""

    picture: Picture
    preview: UInt8Image

    def __str__(self) -> str:
        return str(self.picture)


def predict_files(model: Model, source: Path, out: Path, kinds: Sequence[str], window: Window | None = None) -> int:
    """Write the masks of the picture or of all pictures below the folder `source` to the new folder `out` -> how many there are.

    kinds: of `outputs.KINDS`; window: for pictures of more than 8 bits. The folder appears when it is complete.
    Raises `UserError` if `out` exists, and, after the others are written, with each file that cannot be read; if none can, without `out`.
    """
    if out.exists():
        raise UserError(Problem("predict.target", str(out), "a path that does not exist yet", "a file or folder", "give another name"))
    pictures, problems = find_pictures(source), list[Problem]()
    title = "files that could not be predicted"
    with new_folder(out) as folder, tqdm(total=len(pictures), desc="predict", unit="image") as bar:
        masks = model.masks(_readable(model, pictures, window, problems, bar.update))
        predicted = (Predicted(shown.picture, shown.preview, found) for shown, found in masks)
        write_outputs(folder, _counted(predicted, bar.update), pictures, kinds, model.classes, model.form)
        if len({problem.place for problem in problems}) == len(pictures):
            raise UserError(*problems, title=title)
    raise_if_any(problems, title)
    return len(pictures)


def _readable(
    model: Model, pictures: Sequence[Picture], window: Window | None, problems: list[Problem], done: Callable[[], object]
) -> Iterator[Prepared[_Shown]]:
    """The pictures that can be read, as the network gets them; the problems of the others are added to `problems`."""

    def prepared(picture: Picture) -> Prepared[_Shown] | list[Problem]:
        """The picture as the network gets it, or why it cannot be read."""
        try:
            image = read(picture, window)
        except UserError as error:
            return list(error.problems)
        return model.prepare(_Shown(picture, shrink(image, LONGEST)), image)

    for found in prefetch_map(prepared, pictures):
        if isinstance(found, list):
            problems += found
            done()
        else:
            yield found


def _counted(images: Iterator[Predicted], done: Callable[[], object]) -> Iterator[Predicted]:
    for image in images:
        yield image
        done()
