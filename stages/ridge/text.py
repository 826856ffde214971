"""A small real regression problem in any tokenized text: from the words of a window, what is the next one about?"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stages.ridge.regression import Floats


@dataclass(frozen=True)
class Problem:
    """Inputs of unit norm, and standardised targets."""

    x_NxC: Floats
    y_N: Floats


def text_problem(
    tokens: npt.NDArray[np.int64], vocabulary: int, window: int, components: int = 50, horizon: int = 4
) -> Problem:
    """One sample per window that has `horizon` windows after it, in the order of the text.

    A window is log(1 + count) of every token, scaled to norm one and centred; x is its coordinates along the leading
    principal components, scaled to norm one, and y the mean coordinate of the windows that follow along the first of
    them, their main topic, standardised.
    """
    windows_NxS = tokens[: len(tokens) // window * window].reshape(-1, window)
    counts_NxV = np.zeros((len(windows_NxS), vocabulary))
    np.add.at(counts_NxV, (np.arange(len(windows_NxS))[:, None], windows_NxS), 1.0)
    words_NxV = np.log1p(counts_NxV)
    words_NxV /= np.linalg.norm(words_NxV, axis=1, keepdims=True)
    words_NxV -= words_NxV.mean(axis=0)
    axes_VxC = np.linalg.eigh(words_NxV.T @ words_NxV)[1][:, ::-1][:, :components]
    x_NxC = words_NxV @ axes_VxC
    topic_N = x_NxC[:, 0] * np.sign(axes_VxC[np.abs(axes_VxC[:, 0]).argmax(), 0])
    y_N = np.convolve(topic_N, np.ones(horizon) / horizon, "valid")[1:]
    x_NxC = x_NxC[: len(y_N)] / np.linalg.norm(x_NxC[: len(y_N)], axis=1, keepdims=True)
    return Problem(x_NxC, (y_N - y_N.mean()) / y_N.std())
