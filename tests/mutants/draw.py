"""Bugs drawn at random over the whole source, by the operators of Cosmic Ray, which this alone needs.

uv run --no-project --with cosmic-ray python tests/mutants/draw.py --count 200 --seed 34 > drawn.jsonl

Every place that an operator can change is as likely as any other, whatever number of ways there are to change it;
annotations are left out, since a wrong one is no bug that runs. A line of JSON per bug: file, line, and both texts.
"""

import argparse
import ast
import json
import random
from collections.abc import Iterator
from pathlib import Path

from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

ROOMS = ("crossover", "stages", "flows")
_UNUSED = ("VariableInserter", "VariableReplacer")  # they want names


def places(path: Path) -> dict[tuple[str, int, int], list[tuple[str, int]]]:
    """By family of operators and position: the operators that apply there, each with the number of its occurrence."""
    source = path.read_text()
    tree, skipped = get_ast(source), list(annotations(source))
    found: dict[tuple[str, int, int], list[tuple[str, int]]] = {}
    for name in plugins.operator_names():
        family = name.split("/")[1].split("_")[0]
        if family in _UNUSED:
            continue
        operator = plugins.get_operator(name)()
        positions = [place for node in ast_nodes(tree) for place in operator.mutation_positions(node)]
        for occurrence, (start, _) in enumerate(positions):
            if not any(first <= start <= last for first, last in skipped):
                found.setdefault((family, *start), []).append((name, occurrence))
    return found


def annotations(source: str) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Where annotations begin and end: (line, column)."""
    for node in ast.walk(ast.parse(source)):
        for name in ("annotation", "returns"):
            if found := getattr(node, name, None):
                yield (found.lineno, found.col_offset), (found.end_lineno, found.end_col_offset)


def bug(path: Path, name: str, occurrence: int) -> dict[str, object] | None:
    """What the file has, and what it would have; None where that is the same."""
    before = path.read_text()
    after = mutate_code(before, plugins.get_operator(name)(), occurrence)
    if not after or after == before:
        return None
    old, new = before.splitlines(), after.splitlines()
    first = next((i for i, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), 0)
    text = {"was": old[first].strip(), "is": new[first].strip()}
    return {"file": str(path), "line": first + 1, "operator": name.split("/")[1], **text, "source": after}


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    generator = random.Random(wanted.seed)
    everything = [
        (path, ways) for room in ROOMS for path in sorted(Path(room).rglob("*.py")) for ways in places(path).values()
    ]
    generator.shuffle(everything)
    drawn = 0
    for path, ways in everything:
        if drawn < wanted.count and (found := bug(path, *generator.choice(ways))):
            print(json.dumps(found), flush=True)
            drawn += 1


if __name__ == "__main__":
    main()
