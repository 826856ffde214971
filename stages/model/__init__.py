"""The Transformer. Its parameter and FLOP counts, which need no torch, are in `stages.study.costs`."""
