"""Where a network looks when it finds a class: heat maps by Grad-CAM, drawn over the image."""
