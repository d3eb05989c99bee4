"""What the notebooks call of Colab's own package."""
