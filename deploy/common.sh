# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2154 # the reader sets script: what it is called in its sentences
# How the scripts of deploy/ speak and what they do without: read by them.

say() { echo "$script: $*"; }
fail() {
    echo "$script: $*" >&2
    exit 1
}

need() {
    for program; do
        command -v "$program" >/dev/null || fail "$program is not installed"
    done
}
