"""Makes an installation for the engine native without the real pg_lake.

It is a PostgreSQL with icebox's stand-in extension in its share directory, and with icebox as its
pgduck_server.

    native_installation.py <directory of a PostgreSQL, as in node_modules> <new directory> <icebox>

Where the sandbox runs as root, PostgreSQL runs as an account of its own, which must have access to
the new directory.
"""

import json
import os
import shutil
import subprocess
import sys


def place(source, target):
    """Links the file, or copies it where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


package, root, icebox = map(os.path.abspath, sys.argv[1:])
native = os.path.join(package, "native")
shutil.copytree(native, root, copy_function=place, symlinks=True)
for folder, _, _ in os.walk(root):
    os.chmod(folder, 0o755)
for program in os.scandir(os.path.join(root, "bin")):
    # A package has no file modes. PostgreSQL looks for its files relative to the program, so the
    # program must not be a symbolic link into another directory.
    os.chmod(program.path, 0o755)
# A package has no symbolic links either; this file of the package lists them.
with open(os.path.join(native, "pg-symlinks.json")) as file:
    for link in json.load(file):
        target, source = (
            os.path.join(root, os.path.relpath(link[end], "native")) for end in ("target", "source")
        )
        if not os.path.lexists(target):
            os.symlink(os.path.relpath(source, os.path.dirname(target)), target)
subprocess.run(
    [icebox, "install-stand-in", "--share", os.path.join(root, "share/postgresql")], check=True
)
place(icebox, os.path.join(root, "bin/pgduck_server"))
