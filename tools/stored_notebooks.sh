#!/bin/sh
# Run the stored notebooks of both editions and compare their outputs.
# Usage: stored_notebooks.sh PYTHON LOG NBVAL_OPTION...   LOG gets what pytest says.
# The first three notebooks train what all others load; after them the editions do not wait for
# each other.
python=$1 log=$2
shift 2
status=0
"$python" -m pytest "$@" notebooks/0[1-3]_*.ipynb > "$log" 2>&1 || status=$?
"$python" -m pytest "$@" -p no:cacheprovider notebooks/solutions > "$log.solutions" 2>&1 &
solutions=$!
"$python" -m pytest "$@" notebooks/0[4-9]_*.ipynb >> "$log" 2>&1 || status=$?
wait "$solutions" || status=$?
cat "$log.solutions" >> "$log"
rm "$log.solutions"
exit "$status"
