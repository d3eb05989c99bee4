"""Does what cloud-init does with the keys that deploy/cloud-init uses, but for installing packages.

Usage: apply_cloud_config.py FILE
"""

import os
import shlex
import subprocess
import sys

import yaml

with open(sys.argv[1]) as file:
    assert file.readline() == "#cloud-config\n"
    config = yaml.safe_load(file)
config.pop("packages")
for entry in config.pop("write_files"):
    os.makedirs(os.path.dirname(entry["path"]), exist_ok=True)
    with open(entry["path"], "w") as file:
        os.fchmod(file.fileno(), int(entry.get("permissions", "0644"), 8))
        file.write(entry["content"])
commands = config.pop("runcmd")
assert not config, config
# All in one shell, as there.
script = "\n".join(line if isinstance(line, str) else shlex.join(line) for line in commands)
subprocess.run(["sh"], input=script, text=True, check=True)
