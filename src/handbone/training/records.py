"""One record per training in each kind of experiment tracker: what accelerate's trackers leave open.

A resumed training continues its record. After a kill a few epochs are trained again; they replace what the record has of them.
"""

from __future__ import annotations

import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.tracking import GeneralTracker
from numpy.typing import NDArray

from handbone.utils.io import remove_folder, write_text

PROJECT = "handbone"  # of wandb and MLflow
TAG = "handbone.run"  # of an MLflow run
Picture = NDArray[np.uint8]  # (h, w, 3) RGB


class Record(ABC):
    """A record in a tracker of accelerate.

    folder: of all records of this kind; run: the name of the training, the same after a resume; resumed: if it is not, it has a new record;
    first: the first epoch that is going to be recorded.
    """

    def __init__(self, folder: Path, run: str, resumed: bool, first: int) -> None:
        self._folder, self._run, self._resumed, self._first = folder, run, resumed, first
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def project(self) -> str:
        """The name that accelerate gives to the tracker."""
        return PROJECT

    def options(self) -> dict[str, Any]:
        """The arguments with which accelerate starts the tracker."""
        return {}

    def has(self, epoch: int) -> bool:
        """Whether the record has this epoch already."""
        return False

    def add_settings(self, tracker: GeneralTracker, settings: dict[str, Any]) -> None:
        """Add the parameters of the training."""
        tracker.store_init_configuration(settings)

    @abstractmethod
    def add_pictures(self, tracker: GeneralTracker, pictures: Mapping[str, Picture], epoch: int) -> None:
        """Add pictures by their names."""


class TensorBoardRecord(Record):
    """Event files in a folder of the run; TensorBoard drops what older ones have of the epochs that are trained again."""

    @property
    def project(self) -> str:
        """See `Record`."""
        return self._run

    def options(self) -> dict[str, Any]:
        """See `Record`."""
        if not self._resumed:
            remove_folder(self._folder / self._run)
        return {"purge_step": self._first}

    def add_settings(self, tracker: GeneralTracker, settings: dict[str, Any]) -> None:
        """As a text: accelerate would make a run of its own for them, and another one after each resume."""
        if not self._resumed:
            lines = "\n".join(f"    {name}: {value}" for name, value in settings.items())  # indented: code in Markdown
            tracker.tracker.add_text("parameters", lines, 0)

    def add_pictures(self, tracker: GeneralTracker, pictures: Mapping[str, Picture], epoch: int) -> None:
        """See `Record`."""
        for name, picture in pictures.items():
            tracker.tracker.add_image(name, picture, epoch, dataformats="HWC")
        tracker.tracker.flush()


class DVCLiveRecord(Record):
    """Tables and pictures in a folder of the run. DVCLive makes no experiment of it and leaves dvc.yaml alone: DVC runs this already."""

    def options(self) -> dict[str, Any]:
        """See `Record`."""
        if self._resumed:
            self._cut()
        return {"dir": str(self._folder / self._run), "resume": self._resumed, "save_dvc_exp": False, "dvcyaml": None}

    def add_pictures(self, tracker: GeneralTracker, pictures: Mapping[str, Picture], epoch: int) -> None:
        """See `Record`."""
        for name, picture in pictures.items():
            tracker.tracker.log_image(f"{name}/{epoch:04d}.png", picture)  # DVC shows such a folder with a slider

    def _cut(self) -> None:
        """Remove the rows of the epochs that are trained again."""
        for table in (self._folder / self._run / "plots" / "metrics").rglob("*.tsv"):
            head, *rows = table.read_text(encoding="utf-8").splitlines()
            kept = [row for row in rows if int(row.split("\t")[0]) < self._first]
            write_text(table, "\n".join([head, *kept]) + "\n")


class WandbRecord(Record):
    """A run of wandb, whose id is kept in a file. WANDB_MODE and wandb's other variables count.

    wandb drops epochs that the run has; offline it does not know them, and loses the last ones before a kill. So it gets all of them.
    """

    @property
    def project(self) -> str:
        """See `Record`."""
        return os.environ.get("WANDB_PROJECT", PROJECT)

    def options(self) -> dict[str, Any]:
        """See `Record`."""
        file = self._folder / f"{self._run}.id"
        if not self._resumed or not file.is_file():
            write_text(file, f"{self._run}-{uuid.uuid4().hex[:8]}")
        return {"id": file.read_text(encoding="utf-8"), "name": self._run, "resume": "allow", "dir": str(self._folder)}

    def add_pictures(self, tracker: GeneralTracker, pictures: Mapping[str, Picture], epoch: int) -> None:
        """See `Record`."""
        tracker.log_images({name: [picture] for name, picture in pictures.items()}, step=epoch)


class MLflowRecord(Record):
    """A run of MLflow, in a database of its own unless MLFLOW_TRACKING_URI names another; a tag finds it again."""

    def __init__(self, folder: Path, run: str, resumed: bool, first: int) -> None:
        super().__init__(folder, run, resumed, first)
        self._recorded = 0  # the last epoch that the run has

    def options(self) -> dict[str, Any]:
        """See `Record`."""
        import mlflow

        options: dict[str, Any] = {"run_name": self._run, "tags": {TAG: self._run}}
        if "MLFLOW_TRACKING_URI" not in os.environ:
            mlflow.set_tracking_uri(f"sqlite:///{(self._folder / 'mlflow.db').resolve()}")
            options["logging_dir"] = (self._folder / "artifacts").resolve().as_uri()
        client = mlflow.MlflowClient()
        experiment = client.get_experiment_by_name(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
        if self._resumed and experiment is not None:
            tagged = f"tags.`{TAG}` = '{self._run}'"
            for run in client.search_runs([experiment.experiment_id], tagged, order_by=["attributes.start_time DESC"], max_results=1):
                options["run_id"] = run.info.run_id
                history = client.get_metric_history(run.info.run_id, "lr")
                self._recorded = max((point.step for point in history), default=0)
        return options

    def has(self, epoch: int) -> bool:
        """MLflow keeps two values of one step, and cannot remove one."""
        return epoch <= self._recorded

    def add_pictures(self, tracker: GeneralTracker, pictures: Mapping[str, Picture], epoch: int) -> None:
        """See `Record`."""
        import mlflow

        for name, picture in pictures.items():
            mlflow.log_image(picture, artifact_file=f"{name}/{epoch:04d}.png")


RECORDS: dict[str, type[Record]] = {  # by the values of machine.tracker, which are the names of the packages too
    "tensorboard": TensorBoardRecord,
    "dvclive": DVCLiveRecord,
    "wandb": WandbRecord,
    "mlflow": MLflowRecord,
}
