"""vitlib: the Vision Transformer that the book Patchwork builds, in one small file for each concept."""

__version__ = "0.1.0"
