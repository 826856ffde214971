"""The losses of a trained model: held-out, per block of documents, and on windows it has trained on."""
