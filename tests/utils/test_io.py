"""Tables keep names as they are, and a missing one is the user's to mend."""

from pathlib import Path

import pandas as pd
import pytest

from handbone.utils.errors import UserError
from handbone.utils.io import read_table, write_table


def test_names_that_look_like_numbers_or_like_nothing_stay_text(tmp_path: Path) -> None:
    table = pd.DataFrame({"key": ["007/001", "NA"], "person_sex": ["01", ""], "dice": [0.5, None], "pixels": [1, 2]})
    write_table(tmp_path / "new" / "table.csv", table)
    found = read_table(tmp_path / "new" / "table.csv")
    assert found["key"].tolist() == ["007/001", "NA"]
    assert found["person_sex"].tolist() == ["01", ""]
    assert found["dice"].isna().tolist() == [False, True]


def test_a_missing_table_is_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"index\.csv: expected the file .* dvc repro"):
        read_table(tmp_path / "index.csv")
