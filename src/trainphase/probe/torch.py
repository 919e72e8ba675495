"""``from trainphase.probe.torch import watch``: the probe for PyTorch, and its callbacks.

PyTorch is not installed with trainphase: ``pip install 'trainphase[torch]'``.
"""

from trainphase.probe.adapters.callbacks import huggingface_callback, lightning_callback
from trainphase.probe.adapters.torch_adapter import TorchWatch, watch

__all__ = ["TorchWatch", "huggingface_callback", "lightning_callback", "watch"]
