"""The Dice of every class: how it differs between people, folds and the test set."""

from __future__ import annotations

from functools import partial

from handbone.evaluation.surface_distances import DISTANCES
from handbone.report.charts import chart, classes_svg, fold_columns
from handbone.report.html import Cell, Json, Number, Section, columns, note, table
from handbone.report.scores import Scores


def classes_section(scores: Scores, test: Scores, data_report: Json) -> Section:
    """A chart, and a table with the lowest Dice first. test: without an image if the truth is unknown; data_report: reports/data.json."""
    rows = scores.by_class(test)
    names = {"dice": "Dice", "test": "Test", "iou": "IoU", "hd95": "HD95, px", "assd": "ASSD, px", "std": "Spread", "worst": "Worst"}
    names |= {name: name for name in fold_columns(rows)}
    shown = [name for name in names if name in rows and not (name in DISTANCES and rows[name].isna().all())]
    cells: list[list[Cell]] = [
        [
            str(row["class"]),
            *(Number(float(row[name]), ".2f" if name in DISTANCES else ".4f") for name in shown),
            Number(data_report["classes"].get(row["class"], {}).get("mean_area_px"), ",.0f"),
        ]
        for _, row in rows.sort_values(["dice", "class"], na_position="last").iterrows()
    ]
    text = (
        "Test: Dice of the test set; the other Dice are of the held-out images. Spread: standard deviation of the people’s mean Dice. "
        "Worst: lowest of an image. HD95 and ASSD: the 95th percentile and the mean of the distances between the outlines of prediction "
        "and truth, without images where one of them is empty. Area: mean of the training images. Both in pixels at full resolution."
    )
    picture = chart(partial(classes_svg, rows), "Dice by class, the worst class on top")
    numbers = table(["Class", *(names[name] for name in shown), "Area, px"], cells, sortable=True)
    return Section("Classes", columns("wide-wide", picture, numbers) + note(text))
