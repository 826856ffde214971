"""Three parts of a step with backward passes of our own, because torch's cost most of a small model's time.

GELU by one sigmoid; attention over many small heads as batched products, feature axis first, so that its norm and its
rotation run along whole rows; and cross-entropy that takes its gradient while the logits of a few rows are at hand, so
that no array of all tokens times the vocabulary is ever held. Each equals its plain form to rounding.
Letters in names as in `transformer`; N = B x S tokens, C rows of a chunk, h = K / 2.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_SLOPE = 2 * math.sqrt(2 / math.pi)  # gelu(x) = x sigmoid(_SLOPE x + _CUBE x^3), the form with tanh
_CUBE = _SLOPE * 0.044715
_EPSILON = 1e-5  # of torch's layer norm
_CHUNK = {"cpu": 2**19, "cuda": 2**28}  # logits at hand at once: on a CPU those that stay in its cache
_SCORES = 2**18  # attention scores at hand at once
_LONGEST = 256
Function = torch.autograd.Function


class _Gelu(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        gate = x.square().mul_(_CUBE).add_(_SLOPE).mul_(x).sigmoid_()
        ctx.save_for_backward(x, gate)
        return x * gate

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        x, gate = ctx.saved_tensors
        slope: Tensor = x.square().mul_(3 * _CUBE).add_(_SLOPE).mul_(x)
        return slope.addcmul_(slope, gate, value=-1).add_(1).mul_(gate).mul_(gradients[0])


class _Attention(Function):
    @staticmethod
    def forward(ctx: Any, x_3xBxHxKxS: Tensor, gains_2xK: Tensor | None, rope_2xhxS: Tensor) -> Tensor:
        _, B, H, K, S = x_3xBxHxKxS.shape
        normed, shrink, gains = x_3xBxHxKxS[:2], None, _gains(gains_2xK, x_3xBxHxKxS)
        if gains_2xK is not None:
            normed = normed - normed.mean(-2, keepdim=True)
            shrink = normed.square().mean(-2, keepdim=True).add_(_EPSILON).rsqrt_()
            normed.mul_(shrink)
        q_NxKxS, k_NxKxS = _turned(normed * gains, *rope_2xhxS).view(2, B * H, K, S)
        v_NxKxS = x_3xBxHxKxS[2].view(B * H, K, S)
        future_SxS = x_3xBxHxKxS.new_full((S, S), -torch.inf).triu_(1)
        weights_NxSxS: Tensor = q_NxKxS.new_empty(B * H, S, S)
        y_NxSxK: Tensor = q_NxKxS.new_empty(B * H, S, K)
        for q_CxKxS, k_CxKxS, v_CxKxS, weights_CxSxS, y_CxSxK in _parts(
            q_NxKxS, k_NxKxS, v_NxKxS, weights_NxSxS, y_NxSxK
        ):
            torch.baddbmm(future_SxS, q_CxKxS.mT, k_CxKxS, out=weights_CxSxS)
            torch.softmax(weights_CxSxS, -1, out=weights_CxSxS)
            torch.bmm(weights_CxSxS, v_CxKxS.mT, out=y_CxSxK)
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
            torch.bmm(d_y_CxKxS, weights_CxSxS, out=d_v_CxKxS)
            d_scores_CxSxS = torch.baddbmm(along_CxSx1, d_y_CxKxS.mT, v_CxKxS, beta=-1).mul_(weights_CxSxS)
            torch.bmm(k_CxKxS, d_scores_CxSxS.mT, out=d_q_CxKxS)
            torch.bmm(q_CxKxS, d_scores_CxSxS, out=d_k_CxKxS)
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
    S = tensors_NxAxS[0].shape[-1]
    return zip(*(tensor.split(max(1, _SCORES // S**2)) for tensor in tensors_NxAxS), strict=True)


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
        kind = hidden_NxD.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden_NxD.dtype
        x_NxD, w_VxD = hidden_NxD.to(dtype), weight_VxD.to(dtype)
        d_hidden_NxD, d_weight_VxD = torch.empty_like(x_NxD), torch.zeros_like(weight_VxD)
        turn = _compiled_turn() if kind == "cuda" else _loss_and_gradient
        losses, objectives = [], []
        rows = max(1, _CHUNK[kind] // len(weight_VxD))
        logits_RxV = x_NxD.new_empty(min(rows, len(x_NxD)), len(w_VxD))
        parts = (part.split(rows) for part in (x_NxD, targets_N, d_hidden_NxD))
        for x_CxD, targets_C, d_CxD in zip(*parts, strict=True):
            logits_CxV = torch.mm(x_CxD, w_VxD.T, out=logits_RxV[: len(x_CxD)])
            loss_C, objective_C, d_logits_CxV = turn(logits_CxV, targets_C, z_loss, 1 / len(targets_N))
            torch.mm(d_logits_CxV, w_VxD, out=d_CxD)
            if dtype == weight_VxD.dtype:
                d_weight_VxD.addmm_(d_logits_CxV.T, x_CxD)
            else:
                d_weight_VxD += d_logits_CxV.T @ x_CxD
            losses.append(loss_C)
            objectives.append(objective_C)
        ctx.save_for_backward(d_hidden_NxD.to(hidden_NxD.dtype), d_weight_VxD)
        losses_N = torch.cat(losses)
        ctx.mark_non_differentiable(losses_N)
        return torch.cat(objectives).mean(), losses_N

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        d_hidden_NxD, d_weight_VxD = ctx.saved_tensors
        return d_hidden_NxD * gradients[0], d_weight_VxD * gradients[0], None, None


def _loss_and_gradient(
    logits_CxV: Tensor, targets_C: Tensor, z_loss: float, share: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss and objective of every row, and the gradient of the objectives' sum times `share`, in the logits' type."""
    z_CxV = logits_CxV.to(torch.promote_types(logits_CxV.dtype, torch.float32))
    top_Cx1, right_Cx1 = z_CxV.amax(1, keepdim=True), z_CxV.gather(1, targets_C[:, None])
    z_CxV = z_CxV.sub_(top_Cx1).exp_()
    total_Cx1 = z_CxV.sum(1, keepdim=True)
    log_total_Cx1 = total_Cx1.log() + top_Cx1
    loss_Cx1 = log_total_Cx1 - right_Cx1
    z_CxV.mul_(share * (1 + 2 * z_loss * log_total_Cx1) / total_Cx1)
    z_CxV.scatter_add_(1, targets_C[:, None], torch.full_like(right_Cx1, -share))
    objective_Cx1 = loss_Cx1 + z_loss * log_total_Cx1.square()
    return loss_Cx1[:, 0], objective_Cx1[:, 0], z_CxV.to(logits_CxV.dtype)


@functools.cache
def _compiled_turn() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    compiled: Callable[..., tuple[Tensor, Tensor, Tensor]] = torch.compile(_loss_and_gradient, dynamic=False)
    return compiled


def attention_pays(qkv_BxSxC: Tensor) -> bool:
    """Whether `attention` beats torch's own: in float32 on a CPU, as far as was measured (`make bench`)."""
    return qkv_BxSxC.device.type == "cpu" and qkv_BxSxC.dtype != torch.bfloat16 and qkv_BxSxC.shape[1] <= _LONGEST


def gelu(x: Tensor) -> Tensor:
    """GELU in its tanh form (Hendrycks and Gimpel, arXiv 1606.08415); shape kept."""
    out: Tensor = _Gelu.apply(x)  # type: ignore[no-untyped-call]
    return out


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
    """Cross-entropy in nats of every token, at least in float32, shape (B, S); a few rows of logits at a time."""
    rows = max(1, _CHUNK[hidden_BxSxD.device.type] // len(weight_VxD))
    losses = []
    for x_CxD, targets_C in zip(hidden_BxSxD.flatten(0, 1).split(rows), targets_BxS.flatten().split(rows), strict=True):
        logits_CxV = F.linear(x_CxD, weight_VxD)
        logits_CxV = logits_CxV.to(torch.promote_types(logits_CxV.dtype, torch.float32))
        losses.append(logits_CxV.logsumexp(1) - logits_CxV.gather(1, targets_C[:, None])[:, 0])
    return torch.cat(losses).view(targets_BxS.shape)
