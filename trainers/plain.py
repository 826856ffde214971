"""A trainer of one's own in plain PyTorch: copy it, put your model and your loop in. See docs/bring-your-trainer.md.

It is given a folder with `cell.json` and `windows.npz`, and leaves `curve.csv` and `losses.npz` there. A SIGTERM makes
it save a checkpoint and leave; started again it goes on. With the option `tied: true` head and embedding are one.
"""

import csv
import json
import math
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

STOP = False


class Block(nn.Module):
    def __init__(self, c: SimpleNamespace) -> None:
        super().__init__()
        self.heads, self.size = c.heads, c.width // c.heads
        self.norm1, self.norm2 = nn.LayerNorm(c.width, bias=False), nn.LayerNorm(c.width, bias=False)
        self.qkv, self.out = nn.Linear(c.width, 3 * c.width, bias=False), nn.Linear(c.width, c.width, bias=False)
        self.up, self.down = nn.Linear(c.width, c.hidden, bias=False), nn.Linear(c.hidden, c.width, bias=False)
        self.norm_q, self.norm_k = (nn.LayerNorm(self.size, bias=False) if c.qk_norm else nn.Identity() for _ in "qk")

    def forward(self, x: torch.Tensor, rope: torch.Tensor) -> torch.Tensor:
        B, S, D = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(B, S, 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        q, k = turn(self.norm_q(q), rope), turn(self.norm_k(k), rope)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(B, S, D))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Model(nn.Module):
    def __init__(self, c: SimpleNamespace) -> None:
        super().__init__()
        self.embedding = nn.Embedding(c.vocab_size, c.width)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.depth))
        self.norm = nn.LayerNorm(c.width, bias=False)
        self.head = nn.Linear(c.width, c.vocab_size, bias=False)
        size = c.width // c.heads
        angles = torch.outer(torch.arange(c.seq_len), 10_000.0 ** (-torch.arange(0, size, 2) / size))
        self.register_buffer("rope", torch.polar(torch.ones_like(angles), angles), persistent=False)
        for name, p in self.named_parameters():
            if p.ndim > 1:
                std = {"embedding.weight": c.embedding_std, "head.weight": c.head_std}.get(name, p.shape[1] ** -0.5)
                nn.init.trunc_normal_(p, std=std / 0.8796, a=-2 * std / 0.8796, b=2 * std / 0.8796)
        if c.options.get("tied"):
            self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.rope)
        return self.head(self.norm(x))


def turn(x: torch.Tensor, rope: torch.Tensor) -> torch.Tensor:
    left, right = x.float().chunk(2, -1)
    turned = torch.complex(left, right) * rope
    return torch.cat([turned.real, turned.imag], -1)


def rate(c: SimpleNamespace, step: int) -> float:
    if step < c.warmup_steps:
        return (step + 1) / c.warmup_steps
    floor, done = min(c.final_lr / c.lr, 1), (step - c.warmup_steps + 1) / (c.steps - c.warmup_steps)
    return 1.0 if c.schedule == "constant" else floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2


def main(folder: Path) -> None:
    given = json.loads((folder / "cell.json").read_text())
    c, tokens = SimpleNamespace(**given["cell"]), given["tokens"]
    rates = {c.lr, c.lr_embedding, c.lr_head, c.lr_gains}
    if c.optimizer != "adamw" or c.activation != "gelu" or c.l2 or c.z_loss or c.normalise or len(rates) > 1:
        raise SystemExit("this trainer knows AdamW, GELU, clipping and one rate; take the recipe's other settings away")
    windows = np.load(folder / "windows.npz")
    data = {split: np.concatenate([np.fromfile(path, tokens["dtype"]) for path in tokens[split]])
            for split in ("train", "validation")}  # fmt: skip
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(c.seed)
    model = Model(c).to(device)
    matrices = {True: [], False: []}
    for p in model.parameters():
        matrices[p.ndim > 1].append(p)
    groups = [{"params": ps, "weight_decay": c.weight_decay / c.lr if big else 0.0} for big, ps in matrices.items()]
    optimizer = torch.optim.AdamW(groups, lr=c.lr, betas=(c.beta1, c.beta2), eps=c.eps)
    saved, rows = folder / "checkpoint.pt", []
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        rows = state["rows"]

    def losses(split: str, numbers: np.ndarray) -> torch.Tensor:
        block = torch.from_numpy(data[split][numbers[:, None] * c.seq_len + np.arange(c.seq_len + 1)].astype(np.int64))
        logits = model(block[:, :-1].to(device))
        return F.cross_entropy(logits.flatten(0, 1).float(), block[:, 1:].flatten().to(device), reduction="none")

    with (folder / "curve.csv").open("w", buffering=1) as file:
        writer = csv.writer(file)
        writer.writerow(["step", "tokens", "lr", "loss", "grad_norm"])
        writer.writerows(rows)
        for step in range(len(rows), c.steps):
            for group in optimizer.param_groups:
                group["lr"] = c.lr * rate(c, step)
            loss = losses("train", windows["order"][step]).mean()
            loss.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), c.clip or math.inf)
            optimizer.step()
            optimizer.zero_grad()
            rows.append([step, step * c.batch * c.seq_len, c.lr * rate(c, step), loss.item(), norm.item()])
            writer.writerow(rows[-1])
            if STOP or step % 200 == 199:
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rows": rows}
                torch.save(state, saved.with_suffix(".draft"))
                saved.with_suffix(".draft").replace(saved)
            if STOP:
                raise SystemExit("stopped")
    with torch.no_grad():
        found = {
            name: torch.cat(
                [losses(split, part) for part in np.array_split(windows[name], 1 + len(windows[name]) // 64)]
            )
            for name, split in (("validation", "validation"), ("seen", "train"), ("fresh", "train"))
        }
    np.savez(folder / "losses.npz", **{name: value.cpu().numpy() for name, value in found.items()})


def stop(*_: object) -> None:
    global STOP
    STOP = True


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    main(Path(sys.argv[1]))
