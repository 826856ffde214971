"""Expressions over the columns of a table, such as `flops > 1e18 and size != "7B"`: parsed, checked, never run as code.

Python's own grammar is read with `ast`; only names of columns, numbers, strings, arithmetic, comparisons, `and`, `or`,
`not` (or `&`, `|`, `~`, as pandas writes them), `in` a list, and a few functions are accepted. A column whose name is
no identifier is quoted in backticks.
"""

import ast
import operator
import re
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd

from crossover.base.errors import UsageError
from crossover.base.hints import nearest

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}  # fmt: skip
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "log": np.log, "log2": np.log2, "log10": np.log10, "exp": np.exp, "sqrt": np.sqrt, "abs": np.abs,
}  # fmt: skip
_LONGEST = 2000


def evaluate(table: pd.DataFrame, text: str) -> "pd.Series[Any]":
    """The value of an expression for every row.

    Raises `UsageError` for anything but the accepted grammar, naming the part, and for an unknown column.
    """
    if text in table.columns:
        return table[text]
    if len(text) > _LONGEST:
        raise UsageError(f"the expression has {len(text)} characters; {_LONGEST} are the limit")
    quoted: list[str] = re.findall(r"`([^`]*)`", text)
    numbers = iter(range(len(quoted)))
    plain = re.sub(r"`[^`]*`", lambda _: f"_quoted_{next(numbers)}", text)
    try:
        tree = ast.parse(plain.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UsageError(
            f"'{text}' cannot be read as an expression; write for example flops > 1e18, "
            "and names that are no plain words in backticks"
        ) from None
    with np.errstate(all="ignore"):
        try:
            value = _Reader(table, quoted, text).read(tree)
        except RecursionError:
            raise UsageError(f"'{text[:40]}...' is nested too deeply") from None
        except (TypeError, ValueError, OverflowError, ZeroDivisionError) as error:
            raise UsageError(f"'{text}' does not fit the columns' types ({error})") from None
    return value if isinstance(value, pd.Series) else pd.Series(value, index=table.index)


def condition(table: pd.DataFrame, text: str) -> "pd.Series[bool]":
    """An expression that is true or false for every row; a missing value is false."""
    value = evaluate(table, text)
    if not pd.api.types.is_bool_dtype(value.dtype):
        raise UsageError(f"'{text}' is no condition; compare something, as in flops > 1e18")
    return value.fillna(False).astype(bool)


class _Reader:
    def __init__(self, table: pd.DataFrame, quoted: list[str], text: str) -> None:
        self.table, self.quoted, self.text = table, quoted, text

    def read(self, node: ast.expr) -> Any:
        match node:
            case ast.Name(id=name):
                return self._column(name)
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return value
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return _BINARY[type(op)](self._number(left), self._number(right))
            case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() as op, right=right):
                return self._join(isinstance(op, ast.BitAnd), [left, right])
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._number(operand)
            case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=operand):
                return ~self._truth(operand)
            case ast.BoolOp(op=op, values=values):
                return self._join(isinstance(op, ast.And), values)
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self._compare([left, *others], ops)
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in (*_FUNCTIONS, "lower"):
                return self._lower(argument) if name == "lower" else _FUNCTIONS[name](self._number(argument))
        raise UsageError(f"'{ast.unparse(node)}' is not allowed in '{self.text}'; use columns, numbers, + - * / **, "
                         f"comparisons, and/or/not, in [..], {', '.join(_FUNCTIONS)}, lower")  # fmt: skip

    def _column(self, name: str) -> Any:
        match = re.fullmatch(r"_quoted_(\d+)", name)
        number = int(match[1]) if match else len(self.quoted)
        column = self.quoted[number] if number < len(self.quoted) else name
        values = self.table[require(self.table, column)]
        whole = values.dtype == object and values.map(lambda item: isinstance(item, int)).all()
        return values.astype(float) if whole else values  # integers beyond 64 bits

    def _number(self, node: ast.expr) -> Any:
        value = self.read(node)
        if isinstance(value, str) or (isinstance(value, pd.Series) and not pd.api.types.is_numeric_dtype(value.dtype)):
            raise UsageError(f"'{ast.unparse(node)}' in '{self.text}' is text, and a number is needed")
        return float(value) if isinstance(value, int) else value

    def _lower(self, node: ast.expr) -> "pd.Series[Any]":
        """Text in lower case, without blanks around it and with single ones within: names that are meant alike."""
        value = self.read(node)
        series = value if isinstance(value, pd.Series) else pd.Series(value, index=self.table.index)
        return series.map(lambda item: " ".join(item.lower().split()) if isinstance(item, str) else item)

    def _join(self, every: bool, nodes: list[ast.expr]) -> "pd.Series[bool]":
        return reduce(operator.and_ if every else operator.or_, map(self._truth, nodes))

    def _truth(self, node: ast.expr) -> "pd.Series[bool]":
        value = self.read(node)
        series = value if isinstance(value, pd.Series) else pd.Series(value, index=self.table.index)
        if not pd.api.types.is_bool_dtype(series.dtype):
            why = "; comparisons beside & and | need brackets" if set("&|") & set(self.text) else ""
            raise UsageError(f"'{ast.unparse(node)}' in '{self.text}' is neither true nor false{why}")
        return series.fillna(False).astype(bool)

    def _compare(self, sides: list[ast.expr], ops: list[ast.cmpop]) -> Any:
        total: Any = True
        for left, op, right in zip(sides, ops, sides[1:], strict=False):
            if isinstance(op, (ast.In, ast.NotIn)) and isinstance(right, (ast.List, ast.Tuple)):
                value = self.read(left)
                found = pd.Series(value, index=self.table.index).isin([self.read(item) for item in right.elts])
                total = total & (found if isinstance(op, ast.In) else ~found)
            elif type(op) in _COMPARE:
                total = total & _COMPARE[type(op)](self.read(left), self.read(right))
            else:
                raise UsageError(f"'{ast.unparse(right)}' in '{self.text}' must be a list, as in size in ['7B', '13B']")
        return total


def require(table: pd.DataFrame, column: str) -> str:
    """`column`, if the table has it. Raises `UsageError` that names the nearest."""
    if column not in table.columns:
        known = list(map(str, table.columns))
        raise UsageError(f"no column is called '{column}'; {nearest(column, known)}")
    return column
