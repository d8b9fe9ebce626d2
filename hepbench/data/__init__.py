"""Prepares data: finds, downloads, reads and splits dataset files, and lays out inputs."""
