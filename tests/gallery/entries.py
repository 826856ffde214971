"""What the gallery asks: a table that somebody else published, a question, and the rows that were held back.

Pairs were chosen before they were asked, by how plain their question is; none was dropped for its answer.
"""

from dataclasses import dataclass

from crossover.base.numerals import short

PEOPLE = {
    "datadecide": "[DataDecide](https://arxiv.org/abs/2504.11393), ODC-BY",
    "gemstones": "[Gemstones](https://arxiv.org/abs/2502.06857), MIT",
    "vision": "[Alabdulmohsin et al.](https://arxiv.org/abs/2209.06640), Apache-2.0",
    "lcdb": "the [learning curve database](https://github.com/fmohr/lcdb), MIT",
    "marin": "[Marin's optimizers](https://github.com/marin-community/marin), Apache-2.0",
    "olmo": "the [OLMo ladder](https://arxiv.org/abs/2412.04403), Apache-2.0",
    "gadre": "[Gadre et al.](https://arxiv.org/abs/2403.08540), MIT",
    "epochs": "[Muennighoff et al.](https://arxiv.org/abs/2305.16264), Apache-2.0",
}


@dataclass(frozen=True)
class Entry:
    """A question to a table."""

    name: str
    question: str
    whose: str
    file: str
    words: tuple[str, ...]
    """Of the command, after the table."""
    command: str = "compare"
    x: str = ""
    loss: str = "loss"
    target: float = 0.0
    """Where rows were held back, for questions of who wins."""
    about: str = ""
    """What there is to know of the table."""


def asked(name: str, question: str, whose: str, file: str, x: str, target: float, largest: float, **more: str) -> Entry:
    """Who wins at `target`, from runs up to `largest`."""
    loss, only, pair = more.get("loss", "loss"), more.get("only", ""), more.get("pair", "")
    words = ["--x", x, *(["--loss", loss] if loss != "loss" else []), *(["--pair", pair] if pair else [])]
    words += ["--by", more["by"]] if "by" in more else []
    kept = f"{x} <= {short(largest, 7)}"
    words += ["--only", only] if only else []
    words += [
        "--where",
        f"{kept} and {more['where']}" if "where" in more else kept,
        "--at",
        f"x={short(target, 7)}",
    ]
    return Entry(name, question, whose, file, tuple(words), x=x, loss=loss, target=target, about=more.get("about", ""))


ENTRIES = [
    asked("crosses", "Dolma 1.7 beats C4 in small models. At 1B too?", "datadecide", "corpora", "params", 1e9, 5.3e8,
          only="C4,Dolma1.7", pair="seed",
          about="Mean over ten tasks of the loss of the right answer per character, three seeds, 4M to 1B parameters."),
    asked("shrinks", "And Dolma 1.6++, whose lead over C4 shrinks?", "datadecide", "datadecide", "params", 1e9, 5.3e8,
          pair="seed", about="The same tasks."),
    asked("early", "Can that of Dolma 1.7 be told from up to 90M?", "datadecide", "corpora", "params", 1e9, 9e7,
          only="C4,Dolma1.7", pair="seed", about="The same tasks, a sixth of the size."),
    asked("best", "Of thirteen corpora, which is the best at 1B, from models of up to 90M?", "datadecide", "corpora",
          "params", 1e9, 9e7, pair="seed", about="The same tasks."),
    asked("shapes", "Deep (1536 x 50) or wide (3072 x 12), by compute?", "gemstones", "gemstones", "flops", 7.765417e20,
          2.2e20, only="3072x12,1536x50", about="Transformers of up to 2B; losses interpolated along each run."),
    asked("vision", "A ViT-B/16 or a MiX-B/16, for few-shot recognition of birds?", "vision", "vision", "images",
          2.147484e9, 2.7e8, only="MiX/B/16,ViT/B/16", loss="error",
          about="Error after pretraining on so many images; floors differ."),
    asked("learners", "Which of 18 learners is the best with 2,588 samples, from 323?", "lcdb", "lcdb", "samples", 2588,
          323, loss="error", about="Classifiers on chess endgames, means over 125 splits. No language models."),
    asked("optimizers", "Muon or SOAP at 300M parameters, as tokens grow?", "marin", "marin", "tokens", 9.6e10, 4.8e10,
          only="soape,muon", by="optimizer", loss="c4_en_loss", where="model_size == '300m'",
          about="One tuned run of each at four token counts; SOAP is called `soape` there."),
    Entry("olmo", "What loss will the 13B reach, from models of up to 1B?", "olmo", "olmo",
          ("--n", "N", "--d", "D", "--loss", "c4_ma5", "--heldout", "N > 2e9"), "fit",
          about="C4 loss of a ladder of small models; 7B and 13B were held back."),
    Entry("error", "What error will 1.4B and 6.9B have, from models of up to 412M?", "gadre", "gadre",
          ("--n", "params", "--d", "tokens", "--metric", "error", "--heldout", "params > 1e9"), "fit",
          about="Mean error on 17 downstream tasks, by way of the loss."),
]  # fmt: skip
