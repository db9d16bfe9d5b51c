"""The parameters of a training that takes no time."""

from handbone.config.params import TrainParams

PARAMS = TrainParams(
    size=32, crop=0, target="coverage", epochs=5, batch_size=2, accumulate=1, optimizer="adamw", lr=0.01, encoder_lr=1.0, layer_decay=1.0,
    weight_decay=0.01, schedule="cosine", warmup=0.2, clip_norm=0.0, loss={"bce": 1.0, "dice": 1.0}, class_weights={}, ema_decay=0.8,
    swa_epochs=0, patience=0, freeze_batch_norm=False, validate_every=2, precision="no", deterministic=False, exclude=[], oversample={},
    augment=[],
)  # fmt: skip
