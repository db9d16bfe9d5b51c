"""Two experiments side by side on one offline page."""
