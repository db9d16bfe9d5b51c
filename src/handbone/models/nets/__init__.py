"""One file per paper: the networks that no library has."""
