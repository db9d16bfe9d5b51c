"""One file per paper, and what several papers share: the VGG16 trunk (vgg.py) and parts of U-Nets (unet_parts.py)."""
