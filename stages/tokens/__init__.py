"""From text to tokens: corpora, the tokenizer, and the shards. Run as `python -m stages.tokens`."""
