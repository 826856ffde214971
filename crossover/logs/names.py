"""What the common trainers call losses, sizes and settings: the one table that guesses are made from.

Seen in logs of Hugging Face, Lightning, Composer, llm-foundry, OLMo, torchtitan, nanochat, Megatron, Keras and papers'
tables. Names are compared in lower case with anything but letters and digits as `_`.
"""

from dataclasses import dataclass

from crossover.runs.roles import RECIPES


@dataclass(frozen=True)
class Role:
    """What a column can be to the fits."""

    name: str
    meaning: str
    names: tuple[str, ...]
    """Likely names, the likeliest first."""
    numeric: bool = True
    ends: bool = False
    """Whether a name may also end in one of them."""
    never: str = ""
    """A pattern of names that only look like it."""


ROLES = (
    Role("loss", "the loss", (
        "loss_validation", "validation_loss", "val_loss", "valid_loss", "eval_loss", "loss_val", "loss_eval",
        "test_loss", "final_loss", "loss", "lm_loss", "train_loss", "training_loss", "loss_train",
        "loss_train_total", "nll", "crossentropyloss", "languagecrossentropy", "cross_entropy", "val_bpb",
        "bpb", "bits_per_byte", "val_bpc", "bpc", "bits_per_character", "val_ppl", "ppl", "perplexity",
    ), ends=True, never="(^|_)(aux|auxiliary|z|router|balance|balancing|l2|reg|scale)_"),
    Role("n", "parameters", (
        "n_nonembedding", "n_params", "num_params", "n_parameters", "num_parameters", "parameters", "params",
        "total_params", "total_parameters", "model_params", "param_count", "non_embedding_params",
        "scaling_params", "trainable_params", "model_size", "n_total", "n",
    )),
    Role("d", "training tokens", (
        "tokens", "train_tokens", "training_tokens", "n_tokens", "num_tokens", "total_tokens", "tokens_seen",
        "tokens_trained", "total_tokens_seen", "num_input_tokens_seen", "consumed_tokens",
        "consumed_train_tokens", "train_tokens_seen", "throughput_total_tokens", "d",
    )),
    Role("flops", "training FLOPs", (
        "flops", "flop", "total_flops", "total_flos", "train_flops", "training_flops", "training_flop",
        "flops_budget", "model_flops", "compute",
    ), ends=True, never="(per_second|flops_s$|throughput|device)"),
    Role("lr", "peak learning rate", (
        "lr", "learning_rate", "peak_lr", "max_lr", "peak_learning_rate", "max_learning_rate", "base_lr",
        "learning_rate_group0",
    ), ends=True, never=r"(^|_)(min|final|end)_"),
    Role("batch", "batch size", (
        "global_batch_size", "global_train_batch_size", "total_batch_size", "batch_tokens", "batch_size",
        "train_batch_size", "bs", "batch", "per_device_train_batch_size",
    ), never="(^|_)(eval|val|test)_"),
    Role("recipe", "what differs between runs", RECIPES, numeric=False),
    Role("seed", "seed", ("seed", "random_seed", "train_seed", "data_seed")),
)  # fmt: skip
