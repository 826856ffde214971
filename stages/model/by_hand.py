"""The model's losses and gradients by hand, without autograd: for float32 on a CPU in one process.

Small models spend most of a step on dispatch, allocation and Python. Here every part of the model is one class with its
forward and its backward pass, over arrays that are made once, and a step is a plain sequence of products and passes.
The numbers are those of `stages.model.transformer` to the last bit while all is finite, which is why products are
NumPy's as there, and layer norm, softmax and the order of every sum torch's; that model stays the reference, and the
only path for what the table's right side names.

    part            here                            autograd's model instead
    embedding       by hand
    layer norm      torch's kernels, called here
    attention       by hand, QK-Norm or not         sequences beyond 256
    MLP             by hand, GELU or GEGLU
    head, z-loss    by hand
    micro-batches   a part after the other (`stages.train.step`)
    width                                           from 4,096 on: blocks are computed again
    L2, normalised  the optimizer's: any recipe
    precision       fp32; tf32, the same on a CPU   bf16
    device          a CPU, one process              a GPU, several processes, compiled

Letters in names as in `transformer`; N = B x S tokens of a part of a batch, M = B x H heads, C rows or heads of a
chunk, E = 3 D, G = 2 F, h = K / 2. d_x is the gradient with respect to x.
What `forward` returns is the part's own array: who called may add to it, and it stands until the next `forward`.
`backward` may write over what `forward` kept, so each `forward` has one `backward`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stages.model.fused import CHUNK, CUBE, EPSILON, LONGEST, SLOPE, heads_at_once
from stages.model.products import pays
from stages.model.transformer import Transformer
from stages.study.cell import Cell

Named = Mapping[str, Any]
Array = npt.NDArray[np.floating[Any]]


def goes_by_hand(cell: Cell, device: torch.device) -> bool:
    """Whether the gradients of a cell can be taken by hand, in this process."""
    here = device.type == "cpu" and pays(torch.empty(0))
    return here and cell.precision != "bf16" and cell.seq_len <= LONGEST and not cell.recomputes


class Hand:
    """Loss and gradients of so many windows at a time.

    Args:
        cell: whose model it is.
        model: its parameters are read, and their gradients written, not added to.
        windows: B.
    """

    def __init__(self, cell: Cell, model: Transformer, windows: int) -> None:
        weights: Named = {name: parameter.detach() for name, parameter in model.named_parameters()}
        gradients: Named = {name: parameter.grad for name, parameter in model.named_parameters()}
        self._embedding_VxD, self._d_embedding_VxD = weights["embedding.weight"], gradients["embedding.weight"]
        like, N = self._embedding_VxD, windows * cell.seq_len
        self._x_NxD = like.new_empty(N, cell.width)
        rope_2xhxS = model.rope_2xSxh.mT.to(like.dtype).contiguous()
        self._blocks = [
            _Block(cell, _below(weights, f"blocks.{i}."), _below(gradients, f"blocks.{i}."), rope_2xhxS, windows)
            for i in range(cell.depth)
        ]
        self._norm = _Norm(weights["norm.gain"], gradients["norm.gain"])
        self._head = _Head(weights["head.weight"], gradients["head.weight"], N, cell.z_loss)

    def __call__(self, tokens_BxS: Tensor, targets_BxS: Tensor, share: float) -> Tensor:
        """Mean cross-entropy in nats per token; the gradients become `share` times those of the objective."""
        tokens_N = tokens_BxS.flatten()
        x_NxD = torch.index_select(self._embedding_VxD, 0, tokens_N, out=self._x_NxD)
        for block in self._blocks:
            x_NxD = block.forward(x_NxD)
        loss, d_hidden_NxD = self._head.both(self._norm.forward(x_NxD), targets_BxS.flatten(), share)
        d_x_NxD = self._norm.backward(d_hidden_NxD)
        for block in reversed(self._blocks):
            d_x_NxD = block.backward(d_x_NxD)
        self._d_embedding_VxD.zero_().index_add_(0, tokens_N, d_x_NxD)
        return loss


class _Block:
    """y = x + attention(norm(x)), then y + MLP(norm(y))."""

    def __init__(self, cell: Cell, weights: Named, gradients: Named, rope_2xhxS: Tensor, windows: int) -> None:
        self._attention_norm = _Norm(weights["attention_norm.gain"], gradients["attention_norm.gain"])
        own = _below(weights, "attention."), _below(gradients, "attention.")
        self._attention = _Attention(cell, *own, rope_2xhxS, windows)
        self._mlp_norm = _Norm(weights["mlp_norm.gain"], gradients["mlp_norm.gain"])
        N = windows * cell.seq_len
        self._mlp = _MLP(cell, _below(weights, "mlp."), _below(gradients, "mlp."), N)

    def forward(self, x_NxD: Tensor) -> Tensor:
        y_NxD = self._attention.forward(self._attention_norm.forward(x_NxD)).add_(x_NxD)
        return self._mlp.forward(self._mlp_norm.forward(y_NxD)).add_(y_NxD)

    def backward(self, d_NxD: Tensor) -> Tensor:
        d_NxD = self._mlp_norm.backward(self._mlp.backward(d_NxD)).add_(d_NxD)
        return self._attention_norm.backward(self._attention.backward(d_NxD)).add_(d_NxD)


class _Norm:
    """gain x (x - mean) / sqrt(variance + eps), over the last axis."""

    def __init__(self, gain_D: Tensor, d_gain_D: Tensor) -> None:
        self._gain_D, self._d_gain_D = gain_D, d_gain_D

    def forward(self, x_NxD: Tensor) -> Tensor:
        self._x_NxD, gain_D = x_NxD, self._gain_D
        out_NxD, *self._saved = torch.native_layer_norm(x_NxD, gain_D.shape, gain_D, None, EPSILON)
        return out_NxD

    def backward(self, d_NxD: Tensor) -> Tensor:
        gain_D = self._gain_D
        d_x_NxD, d_gain_D, _ = torch.ops.aten.native_layer_norm_backward(
            d_NxD, self._x_NxD, gain_D.shape, *self._saved, gain_D, None, (True, True, False)
        )
        self._d_gain_D.copy_(d_gain_D)
        return d_x_NxD  # type: ignore[no-any-return]


class _Linear:
    """y = x W^T; so d_x = d_y W and d_W = d_y^T x."""

    def __init__(self, weight_OxI: Tensor, d_weight_OxI: Tensor, N: int) -> None:
        self._weight_OxI, self._d_weight_OxI = weight_OxI.numpy(), d_weight_OxI.numpy()
        O, I = weight_OxI.shape  # noqa: E741
        self.y_NxO, self.d_x_NxI = weight_OxI.new_empty(N, O), weight_OxI.new_empty(N, I)
        self._y, self._d_x = self.y_NxO.numpy(), self.d_x_NxI.numpy()

    def forward(self, x_NxI: Tensor) -> Tensor:
        self._x_NxI = x_NxI.numpy()
        np.matmul(self._x_NxI, self._weight_OxI.T, out=self._y)
        return self.y_NxO

    def backward(self, d_y_NxO: Tensor) -> Tensor:
        d_NxO = d_y_NxO.numpy()
        np.matmul(d_NxO.T, self._x_NxI, out=self._d_weight_OxI)
        np.matmul(d_NxO, self._weight_OxI, out=self._d_x)
        return self.d_x_NxI


class _MLP:
    """gelu(x U) V with gelu(u) = u g, g = sigmoid(a u + c u^3); gated, gelu of one half of x U times the other.

    gelu' = g (1 + u (a + 3 c u^2) (1 - g)).
    """

    def __init__(self, cell: Cell, weights: Named, gradients: Named, N: int) -> None:
        self._up = _Linear(weights["up.weight"], gradients["up.weight"], N)
        self._down = _Linear(weights["down.weight"], gradients["down.weight"], N)
        self._gated, like = cell.activation == "geglu", weights["up.weight"]
        self._gate_NxF, self._gelu_NxF, self._slope_NxF = like.new_empty(3, N, cell.hidden)
        if self._gated:
            self._out_NxF, self._d_up_NxG = like.new_empty(N, cell.hidden), like.new_empty(N, 2 * cell.hidden)

    def forward(self, x_NxD: Tensor) -> Tensor:
        u_NxF = self._up.forward(x_NxD)
        if self._gated:
            u_NxF, self._times_NxF = u_NxF.chunk(2, dim=-1)
        self._u_NxF, gate_NxF = u_NxF, self._gate_NxF
        torch.mul(u_NxF, u_NxF, out=gate_NxF).mul_(CUBE).add_(SLOPE).mul_(u_NxF).sigmoid_()
        out_NxF = torch.mul(u_NxF, gate_NxF, out=self._gelu_NxF)
        if self._gated:
            out_NxF = torch.mul(out_NxF, self._times_NxF, out=self._out_NxF)
        return self._down.forward(out_NxF)

    def backward(self, d_NxD: Tensor) -> Tensor:
        d_NxF, u_NxF, gate_NxF, slope_NxF = self._down.backward(d_NxD), self._u_NxF, self._gate_NxF, self._slope_NxF
        torch.mul(u_NxF, u_NxF, out=slope_NxF).mul_(3 * CUBE).add_(SLOPE).mul_(u_NxF)
        slope_NxF.addcmul_(slope_NxF, gate_NxF, value=-1).add_(1).mul_(gate_NxF)
        if not self._gated:
            return self._up.backward(slope_NxF.mul_(d_NxF))
        d_gate_NxF, d_times_NxF = self._d_up_NxG.chunk(2, dim=-1)
        torch.mul(slope_NxF, d_NxF.mul(self._times_NxF), out=d_gate_NxF)
        torch.mul(d_NxF, self._gelu_NxF, out=d_times_NxF)
        return self._up.backward(self._d_up_NxG)


@dataclass(frozen=True)
class _Heads:
    """A few heads: parts of the arrays of all, as NumPy multiplies them."""

    part: slice
    w_CxSxS: Tensor
    w: Array
    """The same memory."""
    q: Array
    """[C, K, S], as k, v and the gradients."""
    k: Array
    v: Array
    y: Array
    """[C, S, K]."""
    d_y: Array
    d_q: Array
    d_k: Array
    d_v: Array


class _Attention:
    """softmax(q^T k + mask) v of every head, feature axis first; q, k are normed, times their gains, and rotated.

    Of the weights w, d_scores = w (d_w - sum of w d_w), the sum being that of d_y y (Dao et al., arXiv 2205.14135).
    """

    def __init__(self, cell: Cell, weights: Named, gradients: Named, rope_2xhxS: Tensor, windows: int) -> None:
        B, S, D, H = windows, cell.seq_len, cell.width, cell.heads
        self._shape, M, K = (B, S, H, D // H), windows * H, D // H
        self._qkv = _Linear(weights["qkv.weight"], gradients["qkv.weight"], B * S)
        self._out = _Linear(weights["out.weight"], gradients["out.weight"], B * S)
        like = rope_2xhxS
        cos_hxS, self._sin_hxS = rope_2xhxS
        self._back_hxS, self._cos_KxS = -self._sin_hxS, torch.cat([cos_hxS, cos_hxS])
        self._scale_2 = torch.tensor([K**-0.5, 1.0], dtype=like.dtype)
        names = ("query_norm.gain", "key_norm.gain") if cell.qk_norm else ()
        self._gains = [weights[name] for name in names]
        self._d_gains = [gradients[name] for name in names]
        self._future_SxS = like.new_full((S, S), -torch.inf).triu_(1)
        self._x_3xBxHxKxS, self._d_3xBxHxKxS = like.new_empty(2, 3, B, H, K, S)
        self._rotated_2xBxHxKxS = like.new_empty(2, B, H, K, S)
        w_MxSxS, self._y_MxSxK = like.new_empty(M, S, S), like.new_empty(M, S, K)
        self._mixed_NxD, self._d_qkv_NxE = like.new_empty(B * S, D), like.new_empty(B * S, 3 * D)
        self._d_mixed_BxHxKxS = self._out.d_x_NxI.view(B, S, H, K).permute(0, 2, 3, 1)
        self._d_y_MxKxS = self._d_mixed_BxHxKxS.reshape(M, K, S)  # a view where autograd has one
        few = heads_at_once(S)
        self._d_w_CxSxS = like.new_empty(min(M, few), S, S)
        q, k = self._rotated_2xBxHxKxS.view(2, M, K, S).numpy()
        d_q, d_k, d_v = self._d_3xBxHxKxS.view(3, M, K, S).numpy()
        w, v = w_MxSxS.numpy(), self._x_3xBxHxKxS[2].view(M, K, S).numpy()
        y, d_y = self._y_MxSxK.numpy(), self._d_y_MxKxS.numpy()
        self._heads = [
            _Heads(
                part, w_MxSxS[part], w=w[part], q=q[part], k=k[part], v=v[part], y=y[part],
                d_y=d_y[part], d_q=d_q[part], d_k=d_k[part], d_v=d_v[part],
            )
            for part in (slice(start, start + few) for start in range(0, M, few))
        ]  # fmt: skip

    def forward(self, x_NxD: Tensor) -> Tensor:
        B, S, H, K = self._shape
        x_3xBxHxKxS = self._x_3xBxHxKxS
        x_3xBxHxKxS.copy_(self._qkv.forward(x_NxD).view(B, S, 3, H, K).permute(2, 0, 3, 4, 1))
        normed = x_3xBxHxKxS[:2]
        gains = self._scale_2[:, None]
        if self._gains:
            normed.sub_(normed.mean(-2, keepdim=True))
            self._shrink = normed.square().mean(-2, keepdim=True).add_(EPSILON).rsqrt_()
            normed.mul_(self._shrink)
            gains = torch.stack(self._gains) * gains
        self._normed, self._gains_2x1x1xKx1 = normed, gains[:, None, None, :, None]
        self._rotate(normed * self._gains_2x1x1xKx1, self._sin_hxS)
        for few in self._heads:
            np.matmul(few.q.swapaxes(1, 2), few.k, out=few.w)
            torch.softmax(few.w_CxSxS.add_(self._future_SxS), -1, out=few.w_CxSxS)
            np.matmul(few.w, few.v.swapaxes(1, 2), out=few.y)
        self._mixed_NxD.view(B, S, H, K).copy_(self._y_MxSxK.view(B, H, S, K).transpose(1, 2))
        return self._out.forward(self._mixed_NxD)

    def backward(self, d_NxD: Tensor) -> Tensor:
        B, S, H, K = self._shape
        self._out.backward(d_NxD)
        if B > 1 and H > 1:  # else BLAS would see another layout than autograd's, and round otherwise
            self._d_y_MxKxS.view(B, H, K, S).copy_(self._d_mixed_BxHxKxS)
        along_MxSx1 = (self._d_y_MxKxS.mT * self._y_MxSxK).sum(-1, keepdim=True)
        for few in self._heads:
            d_w_CxSxS = self._d_w_CxSxS[: len(few.w)]
            d_w = d_w_CxSxS.numpy()
            np.matmul(few.d_y, few.w, out=few.d_v)
            np.matmul(few.d_y.swapaxes(1, 2), few.v, out=d_w)
            d_w_CxSxS.sub_(along_MxSx1[few.part]).mul_(few.w_CxSxS)
            np.matmul(few.k, d_w.swapaxes(1, 2), out=few.d_q)
            np.matmul(few.q, d_w, out=few.d_k)
        d_normed = self._d_3xBxHxKxS[:2]
        d_scaled = self._rotate(d_normed, self._back_hxS)
        torch.mul(d_scaled, self._gains_2x1x1xKx1, out=d_normed)
        if self._gains:
            self._norms_backward(d_normed, d_scaled)
        self._d_qkv_NxE.view(B, S, 3, H, K).copy_(self._d_3xBxHxKxS.permute(1, 4, 0, 2, 3))
        return self._qkv.backward(self._d_qkv_NxE)

    def _norms_backward(self, d_normed: Tensor, d_scaled: Tensor) -> None:
        """The gradient d after the norm n = r (x - mean x) becomes r (d - mean d - n mean n d); gains get theirs."""
        along = d_scaled.mul_(self._normed)
        d_gains_2xK = along.sum((1, 2, 4)) * self._scale_2[:, None]
        for d_gain_K, found_K in zip(self._d_gains, d_gains_2xK, strict=True):
            d_gain_K.copy_(found_K)
        d_normed.sub_(d_normed.mean(-2, keepdim=True))
        mean = along.mul_(self._gains_2x1x1xKx1).mean(-2, keepdim=True)
        d_normed.addcmul_(self._normed, mean, value=-1).mul_(self._shrink)

    def _rotate(self, x_2xBxHxKxS: Tensor, sin_hxS: Tensor) -> Tensor:
        """The pairs (i, i + K/2) turned by their position's angle."""
        h, out = len(sin_hxS), self._rotated_2xBxHxKxS
        torch.mul(x_2xBxHxKxS, self._cos_KxS, out=out)
        out[..., :h, :].addcmul_(x_2xBxHxKxS[..., h:, :], sin_hxS, value=-1)
        out[..., h:, :].addcmul_(x_2xBxHxKxS[..., :h, :], sin_hxS)
        return out


class _Head:
    """Cross-entropy of x W^T, plus z_loss times the square of the logits' log-sum-exp, a few rows at a time.

    Of softmax p and target y the gradient with respect to the logits is p (1 + 2 z_loss log-sum-exp) - [y].
    """

    def __init__(self, weight_VxD: Tensor, d_weight_VxD: Tensor, N: int, z_loss: float) -> None:
        self._weight_VxD, self._d_weight_VxD, self._z_loss = weight_VxD, d_weight_VxD, z_loss
        V, D = weight_VxD.shape
        rows = min(N, max(1, CHUNK["cpu"] // V))
        self._parts = [slice(start, min(start + rows, N)) for start in range(0, N, rows)]
        self._logits_CxV, self._more_VxD = weight_VxD.new_empty(rows, V), weight_VxD.new_empty(V, D)
        self._losses_Nx1, self._d_x_NxD = weight_VxD.new_empty(N, 1), weight_VxD.new_empty(N, D)

    def both(self, x_NxD: Tensor, targets_N: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """The mean cross-entropy, and `share` times the gradient of the objective by x; that by the weight is kept."""
        x, weight, d_x = x_NxD.numpy(), self._weight_VxD.numpy(), self._d_x_NxD.numpy()
        d_weight, more = self._d_weight_VxD.numpy(), self._more_VxD.numpy()
        for part in self._parts:
            logits_CxV = self._logits_CxV[: part.stop - part.start]
            logits = logits_CxV.numpy()
            np.matmul(x[part], weight.T, out=logits)
            self._to_gradient(logits_CxV, targets_N[part, None], self._losses_Nx1[part], 1 / len(x))
            np.matmul(logits, weight, out=d_x[part])
            np.matmul(logits.T, x[part], out=more if part.start else d_weight)
            if part.start:
                self._d_weight_VxD.add_(self._more_VxD)
        if share != 1:
            self._d_x_NxD.mul_(share)
            self._d_weight_VxD.mul_(share)
        return self._losses_Nx1.mean(), self._d_x_NxD

    def _to_gradient(self, z_CxV: Tensor, targets_Cx1: Tensor, losses_Cx1: Tensor, each: float) -> None:
        """Logits become their gradient, in place; losses are written."""
        top_Cx1, right_Cx1 = z_CxV.amax(1, keepdim=True), z_CxV.gather(1, targets_Cx1)
        p_CxV = torch.softmax(z_CxV, 1, out=z_CxV)
        log_total_Cx1 = top_Cx1.sub_(p_CxV.amax(1, keepdim=True).log_())  # the largest is exp(top) / total
        torch.sub(log_total_Cx1, right_Cx1, out=losses_Cx1)
        p_CxV.mul_(each * (1 + 2 * self._z_loss * log_total_Cx1) if self._z_loss else each)
        p_CxV.scatter_add_(1, targets_Cx1, right_Cx1.fill_(-each))


def _below(named: Named, prefix: str) -> Named:
    """What lies below a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in named.items() if name.startswith(prefix)}
