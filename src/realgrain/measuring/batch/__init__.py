"""Scoring of folders without end: work in shards that no kill can spoil, on one machine or on many."""
