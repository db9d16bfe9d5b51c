"""`python -m reliability.mutants [MODULE ...]`: change one operator, number or return at a time, and see whether a test notices.

It runs in a copy of the repository, with kernels interpreted (NUMBA_DISABLE_JIT). A mutant is killed if a test of its module fails, or if
the tests do not end within the limit. Prints the share that is killed, and every survivor as a line of source before and after.
"""

from __future__ import annotations

import ast
import copy
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from imports import ROOT

LIMIT = 20  # seconds of computing for the tests of one mutant, and a tenth of the seconds on the clock, which other work takes too
TARGETS = {
    "masks/rle.py": ["tests/masks/test_rle.py"],
    "masks/runs.py": ["tests/masks/test_runs.py"],
    "evaluation/dice.py": ["tests/evaluation/test_dice.py"],
    "dataset/splits.py": ["tests/dataset/test_splits.py"],
    "evaluation/decision.py": ["tests/evaluation/test_decision.py"],
    "evaluation/members.py": ["tests/evaluation/test_members.py"],
    "deciding/search.py": ["tests/deciding/test_search.py"],
    "deciding/procedure.py": ["tests/deciding/test_procedure.py"],
    "submission/csv.py": ["tests/submission/test_csv.py"],
    "submission/vote.py": ["tests/submission/test_vote.py"],
}
SWAPS: dict[type[ast.AST], list[type[ast.AST]]] = {
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Add],
    ast.Div: [ast.Mult],
    ast.FloorDiv: [ast.Mult],
    ast.Mod: [ast.Mult],
    ast.RShift: [ast.LShift],
    ast.BitAnd: [ast.BitOr],
    ast.And: [ast.Or],
    ast.Or: [ast.And],
}


def variants(node: ast.AST) -> Iterator[ast.AST]:
    """The node with one thing changed."""
    if isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)):
        yield from (_with(node, op=swap()) for swap in SWAPS.get(type(node.op), []))
    elif isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            for swap in SWAPS[type(operator)]:
                yield _with(node, ops=[*node.ops[:place], swap(), *node.ops[place + 1 :]])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield _with(node, value=not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield _with(node, value=node.value + 1)
    elif isinstance(node, ast.Return) and node.value is not None:
        yield _with(node, value=ast.Constant(None))
    elif isinstance(node, (ast.Continue, ast.Break)):
        yield ast.Pass()


def mutants(source: str) -> Iterator[tuple[int, str]]:
    """The line and the text of every mutant of a module. Annotations, decorators and the text of errors are not mutated."""
    tree = ast.parse(source)
    for place, node in enumerate(_places(tree)):
        for number in range(len(list(variants(node)))):
            changed = copy.deepcopy(tree)
            old = _places(changed)[place]
            new = list(variants(old))[number]
            mutated = _Replace(old, new).visit(changed)
            yield getattr(node, "lineno", 0), ast.unparse(ast.fix_missing_locations(mutated))


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old, self._new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self._new if node is self._old else self.generic_visit(node)


def _with(node: ast.AST, **changes: object) -> ast.AST:
    fields = {name: getattr(node, name) for name in node._fields} | changes
    return ast.copy_location(type(node)(**fields), node)


def _places(tree: ast.AST) -> list[ast.AST]:
    """Every node except those of annotations, decorators and errors' text, in order."""
    found: list[ast.AST] = []

    def walk(node: ast.AST) -> None:
        if isinstance(node, (ast.JoinedStr, ast.keyword)) and getattr(node, "arg", "strict") == "strict":
            return  # text, and zip's check of what is equally long anyway
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Problem", "ValueError"):
            return
        found.append(node)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    walk(child)

    walk(tree)
    return found


def survives(folder: Path, tests: list[str]) -> bool:
    """Whether all tests pass. They run in a fork of this process, which has imported the slow libraries already."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    signal.alarm(10 * LIMIT)
    os.chdir(folder)
    sys.path[:0] = [str(folder / "src"), str(folder / "tests")]
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - the process ends here
    import pytest

    os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest", *tests])))


def preload() -> None:
    """Import what every test needs, before the forks."""
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    for name in ("cv2", "numba", "pandas", "pydantic", "pytest", "sklearn.model_selection", "tqdm", "yaml"):
        __import__(name)


def copy_repository(folder: Path) -> None:
    """The files that git knows, or would add."""
    words = ["git", "ls-files", "-co", "--exclude-standard", "-z", "src", "tests", "stages", "params.yaml", "pyproject.toml"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


def test_module(folder: Path, module: str, tests: list[str]) -> tuple[int, int]:
    """-> the numbers of mutants and of killed ones; prints the survivors."""
    path = folder / "src/handbone" / module
    source = path.read_text()
    plain = ast.unparse(ast.parse(source)).splitlines()
    if not survives(folder, tests):
        raise AssertionError(f"the tests of {module} fail before anything is changed")
    count = killed = 0
    for line, text in mutants(source):
        count += 1
        path.write_text(text)
        if survives(folder, tests):
            changed = [(old, new) for old, new in zip(plain, text.splitlines(), strict=False) if old != new]
            old, new = changed[0] if changed else ("", "")
            print(f"  {module}:{line}  {old.strip()}  ->  {new.strip()}", flush=True)
        else:
            killed += 1
    path.write_text(source)
    print(f"{module}: {killed} of {count} killed ({100 * killed / count:.0f} %)", flush=True)
    return count, killed


def main() -> None:
    """Test the modules named, or all."""
    preload()
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = Path(name)
        copy_repository(folder)
        results = [test_module(folder, module, tests) for module, tests in TARGETS.items() if not sys.argv[1:] or module in sys.argv[1:]]
    count, killed = (sum(numbers) for numbers in zip(*results, strict=True))
    print(f"all: {killed} of {count} killed ({100 * killed / count:.0f} %)")


if __name__ == "__main__":
    main()
