PY ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
