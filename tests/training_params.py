"""The parameters of a training that takes less than a second."""

from handbone.config.params import TrainParams

PARAMS = TrainParams(size=32, epochs=5, batch_size=2, lr=0.01, warmup=0.2, ema_decay=0.8, validate_every=2, precision="no", augment=[])
