"""How the factors move."""
