"""Rank items for users, and measure how good the lists are; training and the model use the same code."""
