"""The floating-point type of networks, the same in training and inference."""

from __future__ import annotations

import torch


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The dtype that `train.precision` (auto, no, fp16, bf16) means on `device`; null: float32 throughout.

    auto is bf16 on a GPU with native support for it, fp16 on an older one, float32 on a CPU.
    """
    if precision == "auto":
        if device.type != "cuda":
            return None
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return {"no": None, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
