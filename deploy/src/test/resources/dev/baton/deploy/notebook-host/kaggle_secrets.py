"""Kaggle's secrets: here, the environment's."""

import os


class UserSecretsClient:
    def get_secret(self, label):
        return os.environ["SECRET_" + label]
