"""One cell from plan to record, the local worker pool, and the tables of a study.

    python -m stages.cells plan|train|evaluate STUDY SCALE

Imports numpy, torch, pyarrow, pydantic and safetensors only, so that training runs on a bare GPU host.
"""
