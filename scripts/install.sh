#!/bin/sh
# Install what a study needs, and nothing that is there already:
#   scripts/install.sh [base|dev]
# system packages (apt, as root only), .venv with corecrown, Quantum ESPRESSO, pseudopotentials; with dev, what the
# tests need besides (a Slurm, a database). Not wannier90, which one nightly test needs: apt-get install wannier90.
# PYTHON=/path/to/python chooses the interpreter of .venv.
set -eu

extras=${1:-base}
case $extras in
base) target=. ;;
dev) target=".[dev]" ;;
*)
    echo "usage: scripts/install.sh [base|dev]" >&2
    exit 2
    ;;
esac
cd "$(dirname "$0")/.."
root=$(pwd)
venv=$root/.venv
tools=
trap 'rm -rf "$tools"' EXIT
trap 'exit 130' INT TERM
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { echo "install: $*"; }

fail() {
    echo "install: $1" >&2
    echo "  hint: $2" >&2
    exit 1
}

# Run a command whose output matters only if it fails: quietly WHAT COMMAND...
quietly() {
    what=$1
    shift
    log=$(mktemp)
    if ! "$@" >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        fail "$what failed" "see its last lines above; check the network and where packages are fetched from"
    fi
    rm -f "$log"
}

# A Python in the range of minor versions 3.$1 to 3.$2, or nothing.
find_python() {
    lowest=$1 highest=$2
    for candidate in "${PYTHON:-}" python3 python3.11 python3.12 python3.13 python3.10 python3.9; do
        path=$(command -v "${candidate:-none}" 2>/dev/null) || continue
        if "$path" -c "import sys; sys.exit(not (3, $lowest) <= sys.version_info[:2] <= (3, $highest))" 2>/dev/null; then
            echo "$path"
            return
        fi
    done
}

can_make_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

is_installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

install_system_packages() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 0
    packages=
    python=$(find_python 11 99)
    # Debian keeps what makes an environment in packages of their own.
    if [ ! -x "$venv/bin/python" ] && { [ -z "$python" ] || ! can_make_venv "$python"; }; then
        packages="python3 python3-venv"
    fi
    if [ -z "${CORECROWN_ESPRESSO_BIN:-}" ]; then
        command -v pw.x >/dev/null || packages="$packages quantum-espresso"
        command -v mpirun >/dev/null || packages="$packages openmpi-bin"
        # Debian's pw.x comes with the reference BLAS, four times slower than this one.
        if { ! command -v pw.x >/dev/null || is_installed quantum-espresso; } && ! is_installed libopenblas0-pthread; then
            packages="$packages libopenblas0-pthread"
        fi
    fi
    # The tests run a Slurm of their own; without it those tests are left out.
    if [ "$extras" = dev ] && ! { command -v slurmctld && command -v munged; } >/dev/null 2>&1; then
        packages="$packages slurm-wlm munge"
    fi
    [ -n "$packages" ] || return 0
    say "apt-get install" $packages
    quietly "apt-get update" apt-get -q update
    quietly "apt-get install$(printf ' %s' $packages)" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q install -y --no-install-recommends -o DPkg::Lock::Timeout=300 $packages
}

# Make a virtual environment with pip in a folder: make_venv PYTHON FOLDER
make_venv() {
    rm -rf "$2"
    if can_make_venv "$1"; then
        "$1" -m venv "$2"
    elif "$1" -m virtualenv --version >/dev/null 2>&1; then
        "$1" -m virtualenv -q "$2"
    elif "$1" -m pip --version >/dev/null 2>&1; then
        # Only for this moment, and beside the system's packages: nothing of the user's is changed.
        say "no ensurepip in $1: making the environment with virtualenv"
        tools=$(mktemp -d)
        quietly "pip install virtualenv" "$1" -m pip install -q --target "$tools" virtualenv
        PYTHONPATH=$tools "$1" -m virtualenv -q "$2"
    else
        fail "$1 has neither ensurepip, virtualenv nor pip, so no environment can be made" \
            "have someone with root install python3-venv; or set PYTHON to a complete Python (3.11 or later)"
    fi
}

install_package() {
    stamp=$venv/corecrown-$extras.stamp
    wanted=$(cksum <pyproject.toml)
    # The programs of an environment hold its path, so one that was moved or copied is made again.
    if [ "$(cat "$venv/corecrown.root" 2>/dev/null || echo "$root")" != "$root" ]; then
        say "this folder was moved: making .venv again"
        rm -rf "$venv"
    fi
    # An environment with what development needs serves for the rest too.
    for done in "$stamp" "$venv/corecrown-dev.stamp"; do
        if [ -x "$venv/bin/corecrown" ] && [ "$(cat "$done" 2>/dev/null)" = "$wanted" ]; then
            return 0
        fi
    done
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        python=$(find_python 11 99)
        [ -n "$python" ] || fail "no Python 3.11 or later found" "install one, or set PYTHON to it"
        say "making .venv with $python"
        make_venv "$python" "$venv"
    fi
    echo "$root" >"$venv/corecrown.root"
    say "pip install -e $target in .venv (some minutes the first time)"
    quietly "pip install of corecrown" "$venv/bin/python" -m pip install -q --use-pep517 -e "$target"
    echo "$wanted" >"$stamp"
}

# Where there is no pw.x and no root: the one inside the Python package qepy, in an environment of its own.
install_qepy() {
    folder=$("$venv/bin/python" -c 'from corecrown.settings import get_settings
print(get_settings().data_dir.expanduser().absolute())')
    origin=$("$venv/bin/python" -c 'from corecrown.errors import CorecrownError
from corecrown.workflows.espresso.programs import find_program
try:
    print(find_program("pw.x").origin)
except CorecrownError as error:
    print("none" if error.message.endswith("not found") else f"wrong {error}")')
    case $origin in
    wrong*) fail "${origin#wrong }" "correct it, or unset it" ;;
    none | qepy) ;;
    *) return 0 ;;
    esac
    say "no pw.x on PATH: using qepy (Quantum ESPRESSO 7.2, serial), 4 to 6 times slower than Debian's quantum-espresso"
    [ "$origin" = none ] || return 0
    python=$(find_python 9 12)
    [ -n "$python" ] || fail "qepy needs a Python from 3.9 to 3.12, and none was found" \
        "install Quantum ESPRESSO some other way and set CORECROWN_ESPRESSO_BIN to the folder of pw.x"
    mkdir -p "$folder"
    make_venv "$python" "$folder/qepy.new"
    quietly "pip install of qepy" "$folder/qepy.new/bin/python" -m pip install -q --only-binary :all: 'qepy==7.2.0' 'numpy<2'
    rm -rf "$folder/qepy"
    mv "$folder/qepy.new" "$folder/qepy"
}

# For tests only, and in an environment of its own since it needs another pymongo than jobflow-remote: a server that
# talks as MongoDB does. Without it the tests of jobflow-remote are left out.
install_test_database() {
    [ "$extras" = dev ] && [ ! -x "$venv/secantus/bin/secantusd-py" ] || return 0
    python=$(find_python 11 13)
    [ -n "$python" ] || return 0
    say "pip install secantusdb in .venv/secantus (tests of jobflow-remote)"
    make_venv "$python" "$venv/secantus"
    "$venv/secantus/bin/python" -m pip install -q --only-binary :all: 'secantusdb==0.7.0b3' >/dev/null 2>&1 ||
        say "secantusdb cannot be had: tests of jobflow-remote are left out"
}

install_system_packages
install_package
install_test_database
install_qepy
# Whoever brings pseudopotentials needs none of ours.
[ -n "${CORECROWN_PSEUDO_DIR:-}" ] || "$venv/bin/corecrown" setup >/dev/null
say "ready: $("$venv/bin/corecrown" --version) in .venv"
