"""Four parts of a step with backward passes of our own, because torch's cost most of a small model's time.

Matrix products by NumPy's BLAS (see `products`); GELU by one sigmoid; attention over many small heads as batched
products, feature axis first, so that its norm and its rotation run along whole rows; and cross-entropy that takes its
gradient while the logits of a few rows are at hand, so that no array of all tokens times the vocabulary is ever held.
Each equals its plain form to rounding.
Letters in names as in `transformer`; N = B x S tokens, C rows of a chunk, h = K / 2.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.model.products import matmul, pays

SLOPE = 2 * math.sqrt(2 / math.pi)  # gelu(x) = x sigmoid(SLOPE x + CUBE x^3), the form with tanh
CUBE = SLOPE * 0.044715
EPSILON = 1e-5  # of torch's layer norm
CHUNK = {"cpu": 2**19, "cuda": 2**28}  # logits at hand at once: on a CPU those that stay in its cache
_ROWS = 64  # of the padded vocabulary, a multiple of this on a GPU
_SCORES = 2**18  # attention scores at hand at once
LONGEST = 256
Function = torch.autograd.Function


class _Linear(Function):
    @staticmethod
    def forward(ctx: Any, x_NxI: Tensor, weight_OxI: Tensor) -> Tensor:
        ctx.save_for_backward(x_NxI, weight_OxI)
        return matmul(x_NxI, weight_OxI.T)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x_NxI, weight_OxI = ctx.saved_tensors
        return matmul(gradients[0], weight_OxI), matmul(gradients[0].T, x_NxI)


class _Gelu(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        gate = x.square().mul_(CUBE).add_(SLOPE).mul_(x).sigmoid_()
        ctx.save_for_backward(x, gate)
        return x * gate

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        x, gate = ctx.saved_tensors
        slope: Tensor = x.square().mul_(3 * CUBE).add_(SLOPE).mul_(x)
        return slope.addcmul_(slope, gate, value=-1).add_(1).mul_(gate).mul_(gradients[0])


class _Attention(Function):
    @staticmethod
    def forward(ctx: Any, x_3xBxHxKxS: Tensor, gains_2xK: Tensor | None, rope_2xhxS: Tensor) -> Tensor:
        _, B, H, K, S = x_3xBxHxKxS.shape
        normed, shrink, gains = x_3xBxHxKxS[:2], None, _gains(gains_2xK, x_3xBxHxKxS)
        if gains_2xK is not None:
            normed = normed - normed.mean(-2, keepdim=True)
            shrink = normed.square().mean(-2, keepdim=True).add_(EPSILON).rsqrt_()
            normed.mul_(shrink)
        q_NxKxS, k_NxKxS = _turned(normed * gains, *rope_2xhxS).view(2, B * H, K, S)
        v_NxKxS = x_3xBxHxKxS[2].view(B * H, K, S)
        future_SxS = x_3xBxHxKxS.new_full((S, S), -torch.inf).triu_(1)
        y_NxSxK: Tensor = q_NxKxS.new_empty(B * H, S, K)
        kept = ctx.needs_input_grad[0]  # else all heads use the same few matrices, in the cache
        weights_NxSxS = q_NxKxS.new_empty(B * H if kept else min(B * H, heads_at_once(S)), S, S)
        weights = weights_NxSxS.split(heads_at_once(S)) if kept else itertools.repeat(weights_NxSxS)
        for (q_CxKxS, k_CxKxS, v_CxKxS, y_CxSxK), weights_CxSxS in zip(
            _parts(q_NxKxS, k_NxKxS, v_NxKxS, y_NxSxK), weights, strict=False
        ):
            weights_CxSxS = weights_CxSxS[: len(q_CxKxS)]
            matmul(q_CxKxS.mT, k_CxKxS, out=weights_CxSxS).add_(future_SxS)
            torch.softmax(weights_CxSxS, -1, out=weights_CxSxS)
            matmul(weights_CxSxS, v_CxKxS.mT, out=y_CxSxK)
        ctx.save_for_backward(normed, shrink, gains, rope_2xhxS, q_NxKxS, k_NxKxS, v_NxKxS, weights_NxSxS, y_NxSxK)
        return y_NxSxK.view(B, H, S, K)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None]:
        normed, shrink, gains, rope_2xhxS, q_NxKxS, k_NxKxS, v_NxKxS, weights_NxSxS, y_NxSxK = ctx.saved_tensors
        B, H, S, K = gradients[0].shape
        d_y_NxKxS = gradients[0].mT.reshape(B * H, K, S)
        d_x_3xBxHxKxS = d_y_NxKxS.new_empty(3, B, H, K, S)
        d_q_NxKxS, d_k_NxKxS, d_v_NxKxS = d_x_3xBxHxKxS.view(3, B * H, K, S)
        along_NxSx1 = (d_y_NxKxS.mT * y_NxSxK).sum(-1, keepdim=True)  # equals the sum of weights times their gradients
        for q_CxKxS, k_CxKxS, v_CxKxS, weights_CxSxS, along_CxSx1, d_y_CxKxS, d_q_CxKxS, d_k_CxKxS, d_v_CxKxS in _parts(
            q_NxKxS, k_NxKxS, v_NxKxS, weights_NxSxS, along_NxSx1, d_y_NxKxS, d_q_NxKxS, d_k_NxKxS, d_v_NxKxS
        ):
            matmul(d_y_CxKxS, weights_CxSxS, out=d_v_CxKxS)
            d_scores_CxSxS = matmul(d_y_CxKxS.mT, v_CxKxS).sub_(along_CxSx1).mul_(weights_CxSxS)
            matmul(k_CxKxS, d_scores_CxSxS.mT, out=d_q_CxKxS)
            matmul(q_CxKxS, d_scores_CxSxS, out=d_k_CxKxS)
        cos_hxS, sin_hxS = rope_2xhxS
        d_scaled, d_normed = _turned(d_x_3xBxHxKxS[:2], cos_hxS, -sin_hxS), d_x_3xBxHxKxS[:2]
        torch.mul(d_scaled, gains, out=d_normed)
        if shrink is None:
            return d_x_3xBxHxKxS, None, None
        along = d_scaled.mul_(normed)
        d_gains_2xK = along.sum((1, 2, 4)) * _gains(None, along).view(2, 1)
        d_normed.sub_(d_normed.mean(-2, keepdim=True))
        d_normed.addcmul_(normed, along.mul_(gains).mean(-2, keepdim=True), value=-1).mul_(shrink)
        return d_x_3xBxHxKxS, d_gains_2xK, None


def _parts(*tensors_NxAxS: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same few heads of every tensor, so few that their scores stay in the cache."""
    heads = heads_at_once(tensors_NxAxS[0].shape[-1])
    return zip(*(tensor.split(heads) for tensor in tensors_NxAxS), strict=True)


def heads_at_once(S: int) -> int:
    """Heads whose scores stay in the cache together."""
    return max(1, _SCORES // S**2)


def _gains(gains_2xK: Tensor | None, x_3xBxHxKxS: Tensor) -> Tensor:
    """What multiplies queries and keys: their gains, and for queries the scale of the scores too."""
    scale_2 = x_3xBxHxKxS.new_tensor([x_3xBxHxKxS.shape[-2] ** -0.5, 1.0])
    gains = scale_2[:, None] if gains_2xK is None else gains_2xK * scale_2[:, None]
    return gains[:, None, None, :, None]


def _turned(x: Tensor, cos_hxS: Tensor, sin_hxS: Tensor) -> Tensor:
    """The pairs (i, i + K/2) of the last axis but one, turned by their position's angle."""
    h = len(cos_hxS)
    turned = x * torch.cat([cos_hxS, cos_hxS])
    turned[..., :h, :].addcmul_(x[..., h:, :], sin_hxS, value=-1)
    turned[..., h:, :].addcmul_(x[..., :h, :], sin_hxS)
    return turned


class _HeadLoss(Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_NxD: Tensor, weight_VxD: Tensor, targets_N: Tensor, z_loss: float
    ) -> tuple[Tensor, Tensor]:
        objective, losses_N, d_hidden_NxD, d_weight_VxD = head_gradients(hidden_NxD, weight_VxD, targets_N, z_loss)
        ctx.save_for_backward(d_hidden_NxD, d_weight_VxD)
        ctx.mark_non_differentiable(losses_N)
        return objective, losses_N

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        d_hidden_NxD, d_weight_VxD = ctx.saved_tensors
        return d_hidden_NxD * gradients[0], d_weight_VxD * gradients[0], None, None


def head_gradients(
    hidden_NxD: Tensor, weight_VxD: Tensor, targets_N: Tensor, z_loss: float, share: float = 1.0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The objective of `head_loss`, the cross-entropy of every token, and `share` times the gradients of the objective.

    Those with respect to `hidden_NxD` and `weight_VxD`; nothing is recorded for torch to differentiate.
    """
    x_NxD, w_PxD = _in_autocast_type(hidden_NxD, weight_VxD)
    d_hidden_NxD, d_weight_VxD = torch.empty_like(x_NxD), torch.zeros_like(weight_VxD)
    turn = _compiled_turn() if x_NxD.is_cuda else _loss_and_gradient
    losses, objectives, V = [], [], len(weight_VxD)
    for part, logits_CxP in _logits(x_NxD, w_PxD):
        loss_C, objective_C, d_logits_CxP = turn(logits_CxP, targets_N[part], V, z_loss, share / len(targets_N))
        matmul(d_logits_CxP, w_PxD, out=d_hidden_NxD[part])
        d_weight_VxD += matmul(d_logits_CxP.T, x_NxD[part])[:V]
        losses.append(loss_C)
        objectives.append(objective_C)
    return torch.cat(objectives).mean(), torch.cat(losses), d_hidden_NxD.to(hidden_NxD.dtype), d_weight_VxD


def _in_autocast_type(hidden_NxD: Tensor, weight_VxD: Tensor) -> tuple[Tensor, Tensor]:
    """Both as products take them; on a GPU the vocabulary is padded to P rows, a multiple of 64, with zeros.

    cuBLAS leaves its fast kernels where a row of the logits does not begin at a multiple of 16 bytes.
    """
    dtype = type_of_products(hidden_NxD)
    w_VxD = weight_VxD.to(dtype)
    return hidden_NxD.to(dtype), F.pad(w_VxD, (0, 0, 0, -len(w_VxD) % _ROWS)) if hidden_NxD.is_cuda else w_VxD


def type_of_products(x: Tensor) -> torch.dtype:
    """Autocast's where that is on, else the tensor's own."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _logits(x_NxD: Tensor, weight_PxD: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """A few rows at a time, and which; the next ones take their place in memory."""
    rows = max(1, CHUNK[x_NxD.device.type] // len(weight_PxD))
    logits_RxP = x_NxD.new_empty(min(rows, len(x_NxD)), len(weight_PxD))
    for start in range(0, len(x_NxD), rows):
        part = slice(start, min(start + rows, len(x_NxD)))
        yield part, matmul(x_NxD[part], weight_PxD.T, out=logits_RxP[: part.stop - start])


def _cross_entropy(logits_CxV: Tensor, targets_C: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy and log-sum-exp of every row, shape (C, 1), and the softmax, which may take the logits' place."""
    z_CxV = _at_least_float(logits_CxV)
    top_Cx1, right_Cx1 = z_CxV.amax(1, keepdim=True), z_CxV.gather(1, targets_C[:, None])
    p_CxV = torch.softmax(z_CxV, 1, out=z_CxV)
    log_total_Cx1 = top_Cx1 - p_CxV.amax(1, keepdim=True).log()  # the largest is exp(top) / total
    return log_total_Cx1 - right_Cx1, log_total_Cx1, p_CxV


def _at_least_float(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _loss_and_gradient(
    logits_CxV: Tensor, targets_C: Tensor, _: int, z_loss: float, share: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss and objective of every row, and the gradient of the objectives' sum times `share`, in the logits' type."""
    loss_Cx1, log_total_Cx1, p_CxV = _cross_entropy(logits_CxV, targets_C)
    p_CxV.mul_(share * (1 + 2 * z_loss * log_total_Cx1))
    p_CxV.scatter_add_(1, targets_C[:, None], torch.full_like(loss_Cx1, -share))
    objective_Cx1 = loss_Cx1 + z_loss * log_total_Cx1.square()
    return loss_Cx1[:, 0], objective_Cx1[:, 0], p_CxV.to(logits_CxV.dtype)


def loss_in_place(
    logits_CxP: Tensor, targets_C: Tensor, V: int, z_loss: float, share: float
) -> tuple[Tensor, Tensor, Tensor]:
    """As `_loss_and_gradient`, in a form of which the compiler makes one kernel and no array beside the logits.

    The gradient takes their place; columns from V on are padding. A gather of the targets' logits would read across
    rows, as far as the compiler knows, and so need a kernel of its own before they are overwritten.
    """
    columns_1xP = torch.arange(logits_CxP.shape[1], device=logits_CxP.device)[None]
    is_target_CxP = columns_1xP == targets_C[:, None]
    z_CxP = torch.where(columns_1xP < V, _at_least_float(logits_CxP), -torch.inf)
    log_total_Cx1 = z_CxP.logsumexp(1, keepdim=True)
    loss_Cx1 = log_total_Cx1 - torch.where(is_target_CxP, z_CxP, 0.0).sum(1, keepdim=True)
    p_CxP = (z_CxP - log_total_Cx1).exp() * (share * (1 + 2 * z_loss * log_total_Cx1))
    logits_CxP.copy_(p_CxP - torch.where(is_target_CxP, share, 0.0))
    return loss_Cx1[:, 0], (loss_Cx1 + z_loss * log_total_Cx1.square())[:, 0], logits_CxP


@functools.cache
def _compiled_turn() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    compiled: Callable[..., tuple[Tensor, Tensor, Tensor]] = torch.compile(loss_in_place, dynamic=False)
    return compiled


def attention_pays(qkv_BxSxC: Tensor) -> bool:
    """Whether `attention` beats torch's own: in float32 on a CPU, as far as was measured (`make bench`)."""
    return qkv_BxSxC.device.type == "cpu" and qkv_BxSxC.dtype != torch.bfloat16 and qkv_BxSxC.shape[1] <= LONGEST


def linear(x: Tensor, weight_OxI: Tensor) -> Tensor:
    """x W^T over the last axis of x, as `torch.nn.functional.linear` without a bias."""
    if not pays(x):
        return F.linear(x, weight_OxI)
    out_NxO: Tensor = _Linear.apply(x.reshape(-1, x.shape[-1]), weight_OxI)  # type: ignore[no-untyped-call]
    return out_NxO.view(*x.shape[:-1], -1)


def gelu(x: Tensor) -> Tensor:
    """GELU in its tanh form (Hendrycks and Gimpel, arXiv 1606.08415); shape kept."""
    out: Tensor = _Gelu.apply(x)  # type: ignore[no-untyped-call]
    return out


def gelu_to_compile(x: Tensor) -> Tensor:
    """As `gelu`, in plain operations. A sigmoid takes a compiled kernel less time than the tanh of torch's form."""
    z = _at_least_float(x)
    return (z * torch.sigmoid(z * (SLOPE + CUBE * z.square()))).to(x.dtype)


def attention(qkv_BxSxC: Tensor, heads: int, gains_2xK: Tensor | None, rope_2xSxh: Tensor) -> Tensor:
    """Causal attention of `heads` heads from their queries, keys and values side by side (C = 3 H K), (B, S, H K).

    Queries and keys are normalised over K and multiplied by their gains unless these are None, then rotated.
    """
    B, S, C = qkv_BxSxC.shape
    x_3xBxHxKxS = qkv_BxSxC.view(B, S, 3, heads, C // (3 * heads)).permute(2, 0, 3, 4, 1).contiguous()
    y_BxHxSxK: Tensor = _Attention.apply(x_3xBxHxKxS, gains_2xK, rope_2xSxh.mT.contiguous())  # type: ignore[no-untyped-call]
    return y_BxHxSxK.transpose(1, 2).reshape(B, S, C // 3)


def head_loss(
    hidden_BxSxD: Tensor, weight_VxD: Tensor, targets_BxS: Tensor, z_loss: float = 0.0
) -> tuple[Tensor, Tensor]:
    """What is minimised, and the mean cross-entropy in nats per token (detached), of logits that are never all held.

    The objective is the mean over tokens of cross-entropy plus `z_loss` times the square of the logits' log-sum-exp
    (PaLM, arXiv 2204.02311, section 5). Under autocast products are in its type, the rest in float32. Can be
    differentiated once.
    """
    objective, losses_N = _HeadLoss.apply(  # type: ignore[no-untyped-call]
        hidden_BxSxD.flatten(0, 1), weight_VxD, targets_BxS.flatten(), z_loss
    )
    return objective, losses_N.mean()


def token_losses(hidden_BxSxD: Tensor, weight_VxD: Tensor, targets_BxS: Tensor) -> Tensor:
    """Cross-entropy in nats of every token, at least in float32, shape (B, S); no gradient is recorded."""
    targets_N = targets_BxS.flatten()
    parts = _logits(*_in_autocast_type(hidden_BxSxD.flatten(0, 1), weight_VxD))
    V = len(weight_VxD)
    losses = [
        F.cross_entropy(_at_least_float(z_CxP[:, :V]), targets_N[part], reduction="none") for part, z_CxP in parts
    ]
    return torch.cat(losses).view(targets_BxS.shape)
