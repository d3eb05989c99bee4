"""Colab's secrets: here, the environment's."""

import os


class SecretNotFoundError(Exception):
    pass


def get(key):
    if "SECRET_" + key not in os.environ:
        raise SecretNotFoundError(f"Secret {key} does not exist.")
    return os.environ["SECRET_" + key]
