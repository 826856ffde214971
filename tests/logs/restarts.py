"""Trainings that were resumed, forked or restarted, logged by the real libraries: `python -m tests.logs.restarts`.

Each writer makes a folder and returns what was logged at last, for `tests/logs/test_restarts.py` to compare with.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

Told = dict[str, Any]


def loss_at(step: int, gap: float = 0.0) -> float:
    """A loss that tells its step and its training."""
    return 9.0 + gap - step / 100


def wandb_resume(folder: Path) -> Told:
    """One id in three processes' folders: a crash at step 30, a resume from 20, and one more from 35 to 50."""
    wandb, settings = _wandb()
    for first, last, gap in ((0, 30, 1.0), (20, 40, 0.5), (35, 50, 0.0)):
        run = wandb.init(project="p", id="abcd1234", name="one", resume="allow", dir=folder, config={"lr": 0.1},
                         settings=settings)  # fmt: skip
        for step in range(first, last + 1, 5):
            run.log({"val/loss": loss_at(step, gap)}, step=step)
        run.finish()
    return {"one": [50, loss_at(50), 11]}


def wandb_fork(folder: Path) -> Told:
    """A run, and another that was begun from its step 20 with a lower rate: an id of its own, and other settings."""
    wandb, settings = _wandb()
    for name, first, gap, rate in (("trunk", 0, 1.0, 0.1), ("branch", 25, 0.0, 0.01)):
        run = wandb.init(project="p", id=name, name=name, dir=folder, config={"lr": rate}, settings=settings,
                         **({"fork_from": "trunk?_step=20"} if name == "branch" else {}))  # fmt: skip
        for step in range(first, 51, 5):
            run.log({"val/loss": loss_at(step, gap)}, step=step)
        run.finish()
    return {"trunk": [50, loss_at(50, 1.0), 11], "branch": [50, loss_at(50), 6]}


def _wandb() -> tuple[Any, Any]:
    os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
    import wandb

    return wandb, wandb.Settings(console="off", x_disable_stats=True, x_disable_meta=True)


def events_purge(folder: Path) -> Told:
    """`purge_step`: what was logged from step 12 on is void, although the resumed training logs at 20 first."""
    from torch.utils.tensorboard import SummaryWriter

    for first, every, gap, purge in ((0, 5, 1.0, None), (20, 10, 0.0, 12)):
        with SummaryWriter(str(folder / "one"), purge_step=purge, filename_suffix=f".{first}") as writer:
            for step in range(first, 51, every):
                writer.add_scalar("val/loss", loss_at(step, gap), step)
    return {"one": [50, loss_at(50), 7]}


def events_restart(folder: Path) -> Told:
    """Three trainings from the start in one folder, the second of which was short."""
    from torch.utils.tensorboard import SummaryWriter

    for number, last in enumerate((50, 10, 40)):
        with SummaryWriter(str(folder / "one"), filename_suffix=f".{number}") as writer:
            for step in range(0, last + 1, 5):
                writer.add_scalar("val/loss", loss_at(step, number), step)
    return {"one": [50, loss_at(50), 11], "one#2": [10, loss_at(10, 1), 3], "one#3": [40, loss_at(40, 2), 9]}


def trainer_restart(folder: Path) -> Told:
    """`transformers.Trainer` in one output folder three times, each with another rate: the state is the last one's."""
    history = [_train(folder / "llama", rate, 6) for rate in (1e-2, 3e-3, 1e-3)][-1]
    last = [entry["eval_loss"] for entry in history if "eval_loss" in entry][-1]
    return {"llama": [6, last, 2], "lr": 1e-3}


def trainer_resume(folder: Path) -> Told:
    """Stopped at step 6 of 12 and resumed from its checkpoint: one run."""
    _train(folder / "llama", 1e-2, 12, stop=6)
    history = _train(folder / "llama", 1e-2, 12, resume=True)
    last = [entry["eval_loss"] for entry in history if "eval_loss" in entry][-1]
    return {"llama": [12, last, 4], "lr": 1e-2}


def _train(folder: Path, rate: float, steps: int, stop: int = 0, resume: bool = False) -> list[dict[str, Any]]:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

    class Stop(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **rest: Any) -> Any:
            control.should_training_stop |= bool(stop) and state.global_step >= stop
            return control

    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=64, max_position_embeddings=16, hidden_size=16, intermediate_size=32,
                         num_hidden_layers=1, num_attention_heads=2)  # fmt: skip
    rows = torch.randint(0, 64, (64, 16), generator=torch.Generator().manual_seed(0))
    data = [{"input_ids": row, "labels": row} for row in rows]
    arguments = TrainingArguments(
        str(folder), max_steps=steps, per_device_train_batch_size=4, learning_rate=rate, logging_steps=1, seed=7,
        eval_strategy="steps", eval_steps=3, save_steps=3, report_to=["tensorboard"], use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    work = Trainer(LlamaForCausalLM(config), arguments, train_dataset=data, eval_dataset=data[:8], callbacks=[Stop()])
    work.train(resume_from_checkpoint=resume)
    work.save_state()
    history: list[dict[str, Any]] = work.state.log_history
    return history


def lightning_csv(folder: Path) -> Told:
    """Two trainings with Lightning's CSV logger, one version each."""
    return {f"version_{number}": _fit(folder, "csv", rate) for number, rate in enumerate((0.1, 0.01))}


def lightning_events(folder: Path) -> Told:
    """The same with its TensorBoard logger, as people have it by default."""
    return {f"version_{number}": _fit(folder, "events", rate) for number, rate in enumerate((0.1, 0.01))}


def _fit(folder: Path, kind: str, rate: float) -> list[Any]:
    import torch
    from pytorch_lightning import LightningModule, Trainer
    from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
    from torch.utils.data import DataLoader

    class Line(LightningModule):
        def __init__(self, lr: float) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch: Any, index: int) -> Any:
            loss = (self.layer(batch) - 1).square().mean()
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", (self.layer(batch) - 1).square().mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), self.hparams["lr"])

    torch.manual_seed(0)
    data = DataLoader(torch.randn(32, 4), batch_size=4)
    logger = (
        CSVLogger(str(folder), name="", flush_logs_every_n_steps=1)
        if kind == "csv"
        else TensorBoardLogger(str(folder), name="")
    )
    trainer = Trainer(max_epochs=3, logger=logger, log_every_n_steps=1, accelerator="cpu", enable_progress_bar=False,
                      enable_model_summary=False, enable_checkpointing=False)  # fmt: skip
    trainer.fit(Line(rate), data, data)
    return [23, float(trainer.callback_metrics["val_loss"]), 3, rate]


def keras_appended(folder: Path) -> Told:
    """`CSVLogger(append=True)`: a training of four epochs, its resume to six, and another from the start."""
    return _keras(folder, [(0, 4), (4, 6), (0, 3)], ",")


def keras_once(folder: Path) -> Told:
    """A single training, with semicolons between the columns."""
    return _keras(folder, [(0, 5)], ";")


def _keras(folder: Path, launches: list[tuple[int, int]], separator: str) -> Told:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    told, model = list[list[Any]](), None
    for first, last in launches:
        if first == 0 or model is None:
            model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
            model.compile(optimizer="sgd", loss="mse")
        logger = keras.callbacks.CSVLogger(str(folder / "training.log.csv"), separator=separator, append=True)
        made = model.fit(x, x.sum(1), validation_split=0.25, epochs=last, initial_epoch=first, callbacks=[logger],
                         verbose=0)  # fmt: skip
        ended = [last - 1, made.history["val_loss"][-1], last]
        told = [*told, ended] if first == 0 else [*told[:-1], ended]
    return {f"training.log{f'#{place}' if place > 1 else ''}": ended for place, ended in enumerate(told, 1)}


def mlflow_resume(folder: Path) -> Told:
    """A run that was opened again by its id and logged from step 20 on once more."""
    import mlflow

    mlflow.set_tracking_uri(folder.as_uri())
    mlflow.set_experiment("ladder")
    for first, last, gap in ((0, 30, 1.0), (20, 50, 0.0)):
        known = mlflow.search_runs(search_all_experiments=True, output_format="list")
        with mlflow.start_run(run_name="one", run_id=known[0].info.run_id if known else None):
            mlflow.log_param("lr", 0.1)
            for step in range(first, last + 1, 5):
                mlflow.log_metric("val_loss", loss_at(step, gap), step=step)
    return {"one": [50, loss_at(50), 11], "lr": 0.1}


def mlflow_nested(folder: Path) -> Told:
    """A sweep: a parent without metrics, a child that finished, one that failed, and one that was deleted."""
    import mlflow

    mlflow.set_tracking_uri(folder.as_uri())
    mlflow.set_experiment("ladder")
    with mlflow.start_run(run_name="sweep"):
        for name, status in (("good", "FINISHED"), ("bad", "FAILED"), ("gone", "FINISHED")):
            run = mlflow.start_run(run_name=name, nested=True)
            for step in (0, 10, 20):
                mlflow.log_metric("eval/loss", loss_at(step), step=step)
            mlflow.end_run(status)
            if name == "gone":
                mlflow.delete_run(run.info.run_id)
    return {"good": [20, loss_at(20), 3], "bad": [20, loss_at(20), 3]}


def dvclive_resume(folder: Path) -> Told:
    """A run that `resume=True` went on with."""
    for steps, gap in ((4, 1.0), (3, 0.0)):
        with _live(folder / "one" / "dvclive", resume=True) as live:
            live.log_param("lr", 0.1)
            for _ in range(steps):
                live.log_metric("eval/loss", loss_at(live.step, gap))
                live.next_step()
    return {"one": [6, loss_at(6), 7], "lr": 0.1}


def dvclive_two(folder: Path) -> Told:
    """Two runs side by side, one with a metric that was logged once."""
    for name, gap in (("a", 0.0), ("b", 1.0)):
        with _live(folder / name / "dvclive") as live:
            for _ in range(3):
                live.log_metric("train/loss", loss_at(live.step, gap))
                live.next_step()
            live.summary["n_params"] = 1000000
    return {"a": [2, loss_at(2), 3], "b": [2, loss_at(2, 1.0), 3]}


def _live(folder: Path, resume: bool = False) -> Any:
    from dvclive import Live

    return Live(str(folder), resume=resume, save_dvc_exp=False, dvcyaml=None, monitor_system=False)


if __name__ == "__main__":
    _place = Path(sys.argv[2])
    _place.mkdir(parents=True)
    _told = globals()[sys.argv[1]](_place)
    (_place.parent / "told.json").write_text(json.dumps(_told))
