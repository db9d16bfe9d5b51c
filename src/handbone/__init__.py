"""From raw images to a submission that can be trusted: the library behind the stages of the graph.

import handbone
model = handbone.load("models")
masks = model.predict(image)  # uint8 (H, W) or (H, W, 3) RGB -> bool (C, H, W), in the order of model.classes
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from handbone.prediction.model import Model


def load(folder: str | Path) -> Model:
    """The trained networks in the folder `models` of a project, or in a folder of `handbone export`.

    Raises `UserError` (handbone.utils.errors), whose text says what to do.
    """
    from pathlib import Path  # here, because every stage and command imports this package first

    from handbone.cli.model_set import load_model

    return load_model(Path(folder))
