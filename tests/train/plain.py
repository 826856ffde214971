"""The plain step in float64 of torch's own parts, and whether the fast one equals it: gradients, losses of a short run.

The plain step is written here with torch's own operations, and shares no line with `stages.model.fused`.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stages.model import fused
from stages.model.execution import gather
from stages.model.transformer import Transformer, build
from stages.shards.windows import window_order
from stages.study.cell import Cell
from stages.train.loop import train
from stages.train.schedule import learning_rates
from tests.conftest import make_cell

GRADIENTS = 1e-5  # largest relative difference of any parameter's gradient
LOSSES = 2e-3  # largest difference in nats of a curve's last tenth, where rounding has grown for 200 steps


class Plain(Transformer):
    """The same model of torch's own operations, in any type."""

    def hidden(self, tokens_BxS: Tensor) -> Tensor:
        """As in `Transformer`."""
        x = self.embedding(tokens_BxS)
        cos, sin = self.rope_2xSxh.to(x.dtype).repeat(1, 1, 2)
        for block in self.blocks:
            attention, mlp = block.attention, block.mlp
            B, S, D = x.shape
            q, k, v = attention.qkv(block.attention_norm(x)).view(B, S, 3, attention.heads, -1).permute(2, 0, 3, 1, 4)
            q, k = (turned(norm(z), cos, sin) for norm, z in ((attention.query_norm, q), (attention.key_norm, k)))
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(B, S, D)
            x = x + attention.out(mixed)
            x = x + mlp.down(F.gelu(mlp.up(block.mlp_norm(x)), approximate="tanh"))
        return self.norm(x)  # type: ignore[no-any-return]


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions."""
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-right, left], dim=-1) * sin


def plain(cell: Cell, dtype: torch.dtype = torch.float64) -> Plain:
    """The cell's model at initialisation as a plain one."""
    model = Plain(cell)
    model.load_state_dict(build(cell).state_dict())
    return model.to(dtype)


def plain_loss(model: Plain, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy."""
    return F.cross_entropy(model.head(model.hidden(inputs)).flatten(0, 1), targets.flatten())


def plain_losses(cell: Cell, tokens: np.ndarray, dtype: torch.dtype = torch.float64) -> np.ndarray:
    """The curve of the cell trained by torch's own AdamW, shape (steps,)."""
    model, data = plain(cell, dtype), torch.from_numpy(tokens)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    gains = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": cell.weight_decay / cell.lr}, {"params": gains, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=cell.lr, betas=(cell.beta1, cell.beta2), eps=cell.eps)
    losses = []
    for lr, windows in zip(learning_rates(cell), torch.from_numpy(window_order(cell)), strict=True):
        loss = plain_loss(model, *gather(data, windows, cell.seq_len))
        optimizer.zero_grad()
        loss.backward()
        if cell.clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), cell.clip)
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


def gradient_error(cell: Cell, tokens: np.ndarray) -> float:
    """The largest relative difference of a parameter's gradient between the fast step and float64."""
    windows = torch.from_numpy(window_order(cell))[0]
    inputs, targets = gather(torch.from_numpy(tokens), windows, cell.seq_len)
    reference, model = plain(cell), build(cell)
    plain_loss(reference, inputs, targets).backward()
    fused.head_loss(model.hidden(inputs), model.head.weight, targets)[0].backward()
    pairs = zip(reference.parameters(), model.parameters(), strict=True)
    return max(float((a.grad - b.grad).norm() / a.grad.norm()) for a, b in pairs)


def curve_error(cell: Cell, tokens: np.ndarray) -> float:
    """How far the mean loss of the last tenth of a run lies from the float64 run's, in nats."""
    last = slice(-max(1, cell.steps // 10), None)
    ours = train(cell, tokens, torch.device("cpu")).losses.double().numpy()
    return float(abs(ours[last].mean() - plain_losses(cell, tokens)[last].mean()))


def shortened(**settings: object) -> tuple[Cell, np.ndarray]:
    """A small cell of 200 steps and tokens with something to learn."""
    cell = make_cell(
        width=32, depth=2, heads=4, seq_len=64, vocab_size=1024, batch=16, steps=200, unique_tokens=64 * 3200,
        warmup_steps=20, weight_decay=1e-4, window=50,
    ).model_copy(update=settings)  # fmt: skip
    tokens = np.minimum(np.random.default_rng(0).geometric(0.02, 64 * 3200 + 1), 1023).astype(np.uint16)
    return cell, tokens


def require_faithful() -> None:
    """Raises `SystemExit` where the fast step is another one."""
    cell, tokens = shortened()
    gradients, losses = gradient_error(cell, tokens), curve_error(cell, tokens)
    print(
        f"faithful: gradients within {gradients:.1e} of float64, loss after {cell.steps} steps within {losses:.1e} nats"
    )
    if gradients > GRADIENTS or losses > LOSSES:
        raise SystemExit(f"not faithful: at most {GRADIENTS:g} and {LOSSES:g} are allowed; nothing was timed")
