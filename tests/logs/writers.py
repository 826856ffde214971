"""Logs written by the real libraries, in a process of their own: `python -m tests.logs.writers wandb FOLDER`.

Prints as JSON what was logged, for the tests to compare with what is read.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

SIZES = [1e6, 2e6, 4e6, 8e6, 16e6, 32e6]
NOTE = "a note longer than a block of the log " * 2500


def loss_at(n: float, d: float, gap: float = 0.0) -> float:
    """A law of known constants, so that a fit of what was imported can be compared with it."""
    return 1.8 + gap + 400 * n**-0.34 + 410 * d**-0.28


def wandb_runs(folder: Path) -> list[dict[str, Any]]:
    """Six runs along a ladder; the last one has a note in pieces, a NaN and a run without an end."""
    os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
    import wandb

    logged = []
    for i, n in enumerate(SIZES):
        config = {
            "model": {"n_params": int(n), "width": 16 * 2**i}, "lr": 0.01, "batch_size": 8, "seed": i, "layers": [1, 2]
        }  # fmt: skip
        settings = wandb.Settings(console="off", x_disable_stats=True, x_disable_meta=True)
        run = wandb.init(
            project="ladder", name=f"size-{i}", group="adamw", dir=folder, config=config, settings=settings
        )
        if i == 0:
            run.config.update({"note": NOTE, "late": True})
        curve = {}
        for step in range(1, 6):
            curve[step] = loss_at(n, 20 * n * step / 5) + (0.5 if step < 5 else 0)
            run.log({"val": {"loss": curve[step]}, "train/loss": curve[step] + 0.1, "tokens": 4 * n * step}, step=step)
        run.summary["peak_memory"] = 1000 + i
        run.summary["eval"] = {"accuracy": 0.5 + i / 100, "deep": {"top5": 0.75}}
        run.summary["eval"]["deep"]["top1"] = 0.25
        run.finish()
        logged.append({"name": f"size-{i}", "config": config, "curve": curve, "id": run.id})
    return logged


def events(folder: Path) -> dict[str, Any]:
    """Scalars of both forms, hyperparameters and text by torch's writer, and by tensorboard's own."""
    import numpy as np
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.plugins.scalar.metadata import create_summary_metadata
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    from tensorboard.util.tensor_util import make_tensor_proto
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(folder / "torch")
    for step in range(5):
        writer.add_scalar("val/loss", 4 - step / 4, step)
        writer.add_scalar("new/float", 3 - step / 4, step, new_style=True)
        writer.add_scalar("new/double", 1 / (step + 3), step, new_style=True, double_precision=True)
    writer.add_histogram("weights", np.arange(1000.0), 3)
    writer.add_text("args", json.dumps({"optim": "lion", "data": {"seed": 5}}))
    writer.add_text("remark", "nothing to be read")
    writer.add_hparams({"lr": 0.125, "optimizer": "lion", "warm": True, "cold": False}, {"hparam/best": 0.5})
    writer.close()

    own = EventFileWriter(str(folder / "own"))
    kinds = {"float32": 1.5, "float64": 2.5, "int32": -3, "int64": -4, "float16": 5.5}
    for kind, value in kinds.items():
        content = TensorProto(dtype=make_tensor_proto(np.array(value, kind)).dtype)
        content.tensor_content = np.array(value, kind).tobytes()
        for form, tensor in (("values", make_tensor_proto(np.array(value, kind))), ("content", content)):
            item = Summary.Value(tag=f"{form}/{kind}", tensor=tensor, metadata=create_summary_metadata("", ""))
            own.add_event(Event(step=7, summary=Summary(value=[item])))
    own.add_event(Event(step=7, summary=Summary(value=[Summary.Value(tag="plain", simple_value=0.25)])))
    own.close()
    return {"kinds": kinds}


def sweep(folder: Path) -> dict[str, Any]:
    """Two recipes on six sizes with two seeds and five learning rates, one folder each, by torch's writer."""
    import math

    from torch.utils.tensorboard import SummaryWriter

    runs = 0
    for n in SIZES:
        for recipe, tilt in (("adamw", 0.0), ("muon", 0.1)):
            for seed in (0, 1):
                for octave in (-2, -1, 0, 1, 2):
                    gap = tilt * math.log(n / 6e6) / 10 + 0.02 * octave**2 + 0.002 * seed * (1 + tilt)
                    writer = SummaryWriter(folder / f"{recipe}-{n:.0f}-{seed}-{octave}")
                    writer.add_scalar("eval/loss", loss_at(n, 20 * n, gap) + 1, 50)
                    writer.add_scalar("eval/loss", loss_at(n, 20 * n, gap), 100)
                    settings = {"n_params": n, "tokens": 20 * n, "lr": 0.01 * 2**octave, "recipe": recipe, "seed": seed}
                    writer.add_hparams(settings, {"done": 1.0}, run_name="settings")
                    writer.close()
                    runs += 1
    return {"runs": runs}


def trainer(folder: Path) -> dict[str, Any]:
    """A real run of a tiny random Llama by `transformers.Trainer`, with checkpoints, evaluations and its events."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=64, max_position_embeddings=16, tie_word_embeddings=False, **shape))
    rows = torch.randint(0, 64, (32, 16), generator=torch.Generator().manual_seed(0))
    data = [{"input_ids": row, "labels": row} for row in rows]
    arguments = TrainingArguments(
        str(folder / "llama"), max_steps=6, per_device_train_batch_size=4, learning_rate=1e-2, logging_steps=2,
        eval_strategy="steps", eval_steps=3, save_steps=3, seed=7, include_num_input_tokens_seen="all",
        report_to=["tensorboard"], use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    work = Trainer(model, arguments, train_dataset=data, eval_dataset=data[:8])
    work.train()
    work.save_state()
    parameters = sum(item.numel() for item in model.parameters())
    return {"history": work.state.log_history, "parameters": parameters, "flops": work.state.total_flos}


if __name__ == "__main__":
    _place = Path(sys.argv[2])
    _place.mkdir(parents=True, exist_ok=True)
    _told = {"wandb": wandb_runs, "events": events, "sweep": sweep, "trainer": trainer}[sys.argv[1]](_place)
    (_place / "told.txt").write_text(json.dumps(_told))
