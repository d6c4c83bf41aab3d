"""Trained models for others: folders that stand alone, on disk or on a hub, and programs that need no allatt."""
