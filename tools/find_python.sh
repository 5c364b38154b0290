#!/bin/sh
# Print the Python to make .venv with: the first that pyproject.toml accepts and that can make an
# environment. Where there is none, say in one line what is wrong with those that are there.
#
#     sh tools/find_python.sh [PYTHON]
#
# The user's own python3 comes first. What is called Python may be anything, so it is asked, in words
# that old ones understand too; a name that leads nowhere (a shim of pyenv) gives no answer.
set -eu

range=$(sed -n 's/^requires-python = ">=3\.\([0-9]*\),<3\.\([0-9]*\)"$/\1 \2/p' \
    "$(dirname "$0")/../pyproject.toml")
oldest=${range% *}
newest=$((${range#* } - 1))

probe='
import platform, sys, sysconfig

oldest, newest, version = int(sys.argv[1]), int(sys.argv[2]), sys.version_info[:2]
name, fault = "%d.%d" % version, ""
try:
    import ensurepip, venv
except ImportError:
    fault = "lacks venv or ensurepip (Debian, Ubuntu: apt install python%s-venv)" % name
system = sys.platform, platform.machine()
if system[0] not in ("linux", "win32") and system != ("darwin", "arm64"):
    fault = "runs on %s %s, for which TensorFlow has no build" % system
if platform.python_implementation() != "CPython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
    fault = "is not the standard build, and TensorFlow has none for it"
if version > (3, newest):
    fault = "is too new for the TensorFlow of this course"
if version < (3, oldest):
    fault = "is too old"
print(fault and "(%s) %s" % (name, fault) or "fits")
'

[ -n "${1:-}" ] || set -- python3 python3.13 python3.12 python3.11
faults=
for each in "$@"; do
    answer=$("$each" -c "$probe" "$oldest" "$newest" 2>/dev/null) || continue
    if [ "$answer" = fits ]; then
        command -v "$each"
        exit
    fi
    case $faults in
        *"$answer"*) ;;  # often one Python under two names
        *) faults="$faults${faults:+; }$each $answer" ;;
    esac
done
echo "error: ${faults:-none of $* can be run}. Install Python 3.$oldest to 3.$newest (with venv)," \
    "or name it: make PYTHON=/path/to/python3.$newest" >&2
exit 2
