"""What a backup contains, where it is stored, and which backups exist."""
