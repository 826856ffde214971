"""A trainer of one's own around Hugging Face: a model built from its config, trained by `transformers.Trainer`.

The option `architecture` names any causal model of the library (`llama` where absent). It keeps the Trainer's own
checkpoints in the cell's folder: a SIGTERM makes it save one and leave, and started again it goes on from the last.
Needs `pip install transformers accelerate`. See docs/bring-your-trainer.md.
"""

import json
import math
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import Dataset, SequentialSampler
from transformers import AutoConfig, AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

STOP = False


class Windows(Dataset):
    """Windows of one token more than are inputs, as the models shift labels themselves."""

    def __init__(self, tokens: np.ndarray, numbers: np.ndarray, seq_len: int) -> None:
        self.tokens, self.numbers, self.seq_len = tokens, numbers, seq_len

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        start = int(self.numbers[index]) * self.seq_len
        ids = torch.from_numpy(self.tokens[start : start + self.seq_len + 1].astype(np.int64))
        return {"input_ids": ids, "labels": ids}


class InOrder(Trainer):
    """Takes the windows in the order that the cell says, so that seeds and trainers can be compared pair by pair."""

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


class Curve(TrainerCallback):
    """Writes curve.csv as it goes, and turns a SIGTERM into a checkpoint and an end."""

    def __init__(self, path: Path, batch_tokens: int) -> None:
        self.path, self.batch_tokens = path, batch_tokens

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.path.write_text("step,tokens,lr,loss,grad_norm\n")
        for entry in state.log_history:
            self.write(entry)

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.write(state.log_history[-1])

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if STOP:
            control.should_save = control.should_training_stop = True

    def write(self, entry: dict[str, float]) -> None:
        if "loss" in entry:
            step = int(entry["step"]) - 1
            values = (step, step * self.batch_tokens, entry["learning_rate"], entry["loss"], entry["grad_norm"])
            with self.path.open("a") as file:
                file.write(",".join(map(str, values)) + "\n")


def build(c: SimpleNamespace) -> torch.nn.Module:
    torch.manual_seed(c.seed)
    config = AutoConfig.for_model(
        c.options.get("architecture", "llama"), vocab_size=c.vocab_size, hidden_size=c.width, num_hidden_layers=c.depth,
        num_attention_heads=c.heads, num_key_value_heads=c.heads, intermediate_size=c.hidden, tie_word_embeddings=False,
        max_position_embeddings=c.seq_len + 1, initializer_range=c.embedding_std, use_cache=False,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config)


def arguments(c: SimpleNamespace, folder: Path) -> TrainingArguments:
    cosine = {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": min(c.final_lr, c.lr)}}
    constant = {"lr_scheduler_type": "constant_with_warmup"}
    return TrainingArguments(
        output_dir=str(folder / "checkpoints"), max_steps=c.steps, per_device_train_batch_size=c.batch,
        learning_rate=c.lr, warmup_steps=c.warmup_steps, weight_decay=c.weight_decay / c.lr, adam_beta1=c.beta1,
        adam_beta2=c.beta2, adam_epsilon=c.eps, max_grad_norm=c.clip or math.inf, logging_steps=1, save_steps=500,
        save_total_limit=1, seed=c.seed, bf16=c.precision == "bf16", report_to="none", disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(), **(cosine if c.schedule == "cosine" else constant),
    )  # fmt: skip


@torch.no_grad()
def losses(model: torch.nn.Module, windows: Windows) -> np.ndarray:
    device, found = next(model.parameters()).device, []
    for start in range(0, len(windows), 64):
        items = [windows[number]["input_ids"] for number in range(start, min(start + 64, len(windows)))]
        ids = torch.stack(items).to(device)
        logits = model(input_ids=ids[:, :-1]).logits.flatten(0, 1).float()
        found.append(F.cross_entropy(logits, ids[:, 1:].flatten(), reduction="none").cpu().numpy())
    return np.concatenate(found)


def main(folder: Path) -> None:
    given = json.loads((folder / "cell.json").read_text())
    c, tokens = SimpleNamespace(**given["cell"]), given["tokens"]
    windows = np.load(folder / "windows.npz")
    data = {split: np.concatenate([np.fromfile(path, tokens["dtype"]) for path in tokens[split]])
            for split in ("train", "validation")}  # fmt: skip
    trainer = InOrder(
        model=build(c), args=arguments(c, folder),
        train_dataset=Windows(data["train"], windows["order"].ravel(), c.seq_len),
        callbacks=[Curve(folder / "curve.csv", c.batch * c.seq_len)],
    )  # fmt: skip
    checkpoints = folder / "checkpoints"
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(checkpoints)) if checkpoints.exists() else None)
    if STOP and trainer.state.global_step < c.steps:
        raise SystemExit("stopped")
    model = trainer.model.eval()
    splits = {"validation": "validation", "seen": "train", "fresh": "train"}
    found = {name: losses(model, Windows(data[split], windows[name], c.seq_len)) for name, split in splits.items()}
    np.savez(folder / "losses.npz", **found)


def stop(*_: object) -> None:
    global STOP
    STOP = True


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    main(Path(sys.argv[1]))
