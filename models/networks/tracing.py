"""Whether a network is being followed by a tool instead of being computed."""

from __future__ import annotations

from collections.abc import Callable

import torch

is_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", lambda: False)
"""Whether torch.export traces this call. torch 2.6 cannot say it: scripts/export.py refuses to work with that."""
