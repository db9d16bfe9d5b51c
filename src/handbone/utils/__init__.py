"""What every room uses: errors for users, files written whole, hashes, parallel maps."""
