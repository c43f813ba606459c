#!/usr/bin/env python3
"""Downloads and unpacks the newest source distribution of a package: fetch_sdist.py PACKAGE FOLDER

`pip download --no-binary` would first build the package's metadata in an isolated environment, which
takes minutes here and is not needed. This asks the index that pip is configured for, checks the
hash that the index gives, and prints the folder. What is there already stays.
"""
import hashlib
import json
import pathlib
import subprocess
import sys
import tarfile
import urllib.parse
import urllib.request

JSON = "application/vnd.pypi.simple.v1+json"  # PEP 691


def index_url():
    """pip's index: configured (file or environment), else its built-in one."""
    shown = subprocess.run([sys.executable, "-m", "pip", "config", "get", "global.index-url"],
                           capture_output=True, text=True, check=False)
    configured = subprocess.run([sys.executable, "-m", "pip", "config", "list"],
                                capture_output=True, text=True, check=False).stdout
    for line in configured.splitlines():
        if line.startswith(":env:.index-url="):
            return line.split("=", 1)[1].strip("'\"")
    if shown.returncode == 0:
        return shown.stdout.strip()
    from pip._internal.models.index import PyPI  # the one place that has its address
    return PyPI.simple_url


def newest_sdist(package):
    """Address and SHA-256 of the last .tar.gz in the index's order, which is that of upload."""
    address = f"{index_url().rstrip('/')}/{package}/"
    request = urllib.request.Request(address, headers={"Accept": JSON})
    with urllib.request.urlopen(request) as response:
        if response.headers.get_content_type() != JSON:
            sys.exit("the index has no JSON form (PEP 691): unpack the sdist by hand, and give its "
                     "folder by --source")
        files = json.load(response)["files"]
    files = [f for f in files if f["filename"].endswith(".tar.gz") and not f.get("yanked")]
    if not files:
        sys.exit(f"the index has no source distribution of {package}")
    newest = max(files, key=lambda f: (f.get("upload-time", ""), f["filename"]))
    return urllib.parse.urljoin(address, newest["url"]), newest["hashes"]["sha256"]


def main():
    package, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / f"{package}.folder"
    if done.exists() and (folder / done.read_text()).is_dir():
        print(folder / done.read_text())
        return
    address, sha256 = newest_sdist(package)
    name = pathlib.PurePosixPath(urllib.parse.urlparse(address).path).name
    archive = folder / name
    if not archive.exists() or hashlib.sha256(archive.read_bytes()).hexdigest() != sha256:
        print(f"downloading {name}", file=sys.stderr)
        with urllib.request.urlopen(address) as response:
            archive.write_bytes(response.read())
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != sha256:
            sys.exit(f"{archive}: SHA-256 {found}, and the index says {sha256}")
    with tarfile.open(archive) as tar:
        top = tar.getnames()[0].split("/")[0]
        tar.extractall(folder, filter="data")
    done.write_text(top)
    print(folder / top)


if __name__ == "__main__":
    main()
