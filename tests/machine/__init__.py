"""What the workflow needs of a machine: packages from an index, and memory."""
