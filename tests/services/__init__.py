"""Tests against real servers: archives over the network."""
