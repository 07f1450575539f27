#!/usr/bin/env bash
# ADBC's driver manager finds a manifest in the folders of ADBC_DRIVER_PATH, but not the shared object of a driver.
# Bites: everybody who puts libadbc_driver_NAME.so into such a folder and names the driver NAME, as its source says that it may
# ("check for toml first, then dll"): it looks for lib/FOLDER/NAME.so, with "lib" before the folder. A symbolic link FOLDER/NAME,
# without prefix and extension, helps.
# Seen: 2026-11-29, adbc-driver-manager 1.13.0, adbc-driver-sqlite 1.13.0, Python 3.11.7, Linux x86-64.
#
# Expected: the driver is opened in all three cases.
# Seen:
#   shared object in ADBC_DRIVER_PATH: not found
#   link without prefix and extension: found
#   manifest in ADBC_DRIVER_PATH: found
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv || python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --disable-pip-version-check \
  adbc-driver-manager==1.13.0 adbc-driver-sqlite==1.13.0 pyarrow==26.0.1
driver=$(echo "$folder"/venv/lib/python*/site-packages/adbc_driver_sqlite/libadbc_driver_sqlite.so)
mkdir object link manifest
cp "$driver" object/
ln -s "$driver" link/adbc_driver_sqlite
printf '[Driver]\nshared = "%s"\n' "$driver" > manifest/adbc_driver_sqlite.toml
try() {
  ADBC_DRIVER_PATH="$folder/$2" venv/bin/python - "$1" <<'PYTHON'
import sys
from adbc_driver_manager import dbapi

try:
    dbapi.connect(driver="adbc_driver_sqlite", db_kwargs={"uri": ":memory:"}).close()
    print(f"{sys.argv[1]}: found")
except Exception:
    print(f"{sys.argv[1]}: not found")
PYTHON
}
seen=$(
  try "shared object in ADBC_DRIVER_PATH" object
  try "link without prefix and extension" link
  try "manifest in ADBC_DRIVER_PATH" manifest
)
printf '%s\n' "$seen"
expected="shared object in ADBC_DRIVER_PATH: not found
link without prefix and extension: found
manifest in ADBC_DRIVER_PATH: found"
if [ "$seen" != "$expected" ]; then
  echo "this finding does not hold any more" >&2
  exit 1
fi
