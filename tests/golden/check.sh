#!/usr/bin/env bash
# Runs the independent reader over everything golden: its own tests, the vectors, and the repository, opened with its key file and with its password.
#
#     check.sh [PYTHON]
#
# PYTHON must have the packages of requirements.txt. Exits non-zero at the first failure.
set -euo pipefail
python=${1:-python3}
export PYTHONDONTWRITEBYTECODE=1
cd "$(dirname "${BASH_SOURCE[0]}")"
scratch=$(mktemp -d)
trap 'chmod -R u+rwX "$scratch"; rm -rf "$scratch"' EXIT

"$python" -m unittest discover --start-directory . --pattern 'test_*.py'
"$python" reader.py vectors vectors.json
for version in v*/; do
    version=${version%/}
    "$python" reader.py list "$version" --key-file "$version.key"
    "$python" compare.py "$version" "$scratch/by-key-file" --key-file "$version.key"
    "$python" compare.py "$version" "$scratch/by-password" --password-file "$version.password"
done
echo "golden: all is well"
