"""Ridge regression by one singular value decomposition for all penalties, and random features to regress on.

With p features, n samples and no penalty the test error is U-shaped below p = n, peaks at p = n, where the last
direction of the data is fitted with the least support, and descends again beyond (Belkin et al., arXiv 1812.11118;
Hastie et al., arXiv 1903.08560). A tuned penalty takes the peak away.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_RANK = 1e-10  # singular values below this share of the largest are zero: the minimum-norm solution


def ridge(phi_NxP: Floats, y_N: Floats, penalties: list[float]) -> Floats:
    """Coefficients of min |y - phi b|^2 / N + penalty |b|^2 for every penalty, shape (penalties, P).

    A penalty of zero gives least squares of minimum norm.
    """
    u_NxK, s_K, vt_KxP = np.linalg.svd(phi_NxP, full_matrices=False)
    kept = s_K > _RANK * s_K[0]
    u_NxK, s_K, vt_KxP = u_NxK[:, kept], s_K[kept], vt_KxP[kept]
    shrunk = [s_K / (s_K**2 + len(y_N) * penalty) * (u_NxK.T @ y_N) for penalty in penalties]
    solutions: Floats = np.array(shrunk) @ vt_KxP
    return solutions


def random_features(x_NxC: Floats, weights_CxP: Floats) -> Floats:
    """max(0, x W) x sqrt(2 / P), so that features of unit inputs have norm about one (Rahimi and Recht 2007)."""
    features: Floats = np.maximum(x_NxC @ weights_CxP, 0) * np.sqrt(2 / weights_CxP.shape[1])
    return features


def mean_squares(phi_NxP: Floats, y_N: Floats, coefficients_LxP: Floats) -> Floats:
    """Mean squared error for every row of coefficients."""
    errors: Floats = np.square(phi_NxP @ coefficients_LxP.T - y_N[:, None]).mean(axis=0)
    return errors
