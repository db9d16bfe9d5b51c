"""What every room uses: errors for users, reading and writing files, hashes, parallel maps."""
