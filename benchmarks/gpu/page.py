"""`python -m benchmarks.gpu.page GPU_JSON`: keep the results of a GPU run in benchmarks/gpu.json, and write their table in the docs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.table import gpu_markdown
from handbone.utils.io import write_json, write_text

FOLDER = Path(__file__).resolve().parents[1]
KEPT, PAGE = FOLDER / "gpu.json", FOLDER.parent / "docs/performance.md"


def without_logs(report: Mapping[str, Any]) -> dict[str, Any]:
    """The report of a run without tracebacks and the ends of logs, which name paths of one machine."""
    sections = {
        section: {
            name: value.partition("\n")[0] if name.endswith("_failed") else value for name, value in found.items() if name != "log_end"
        }
        for section, found in report["sections"].items()
    }
    return {**report, "sections": sections}


def with_table(page: str, report: Mapping[str, Any]) -> str:
    """The page with the report's table in place of the one that it has."""
    table = gpu_markdown(report["sections"])
    start = page.index(table.partition("\n")[0])
    return page[:start] + table + page[page.index("\n\n", start) :]


def main() -> None:
    """Write both files."""
    report = without_logs(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    write_json(KEPT, report)
    write_text(PAGE, with_table(PAGE.read_text(encoding="utf-8"), report))


if __name__ == "__main__":
    main()
