#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Stands in for the programs that an instance of deploy/ec2 runs when it starts, by whose name it is called: curl answers
# for AWS, for the servers and for the internet, as far as there is a file web/URL (with _ for /) in STAND_IN_STATE; the
# others do next to nothing. Every call becomes a line of STAND_IN_STATE/calls.
program=${0##*/}
echo "$program $*" >>"$STAND_IN_STATE/calls"
case $program in
curl)
    out=
    while [ $# -gt 0 ]; do
        case $1 in
        -o) out=$2; shift ;;
        -m | -X | -H | --cacert) shift ;;
        http*) file=$STAND_IN_STATE/web/$(echo "$1" | tr / _) ;;
        esac
        shift
    done
    [ -e "$file" ] || exit 22
    if [ -n "$out" ]; then cp "$file" "$out"; else cat "$file"; fi
    ;;
mountpoint) [ -e "$STAND_IN_STATE/mounted" ] ;;
mount) touch "$STAND_IN_STATE/mounted" ;;
blkid) if [ -e "$STAND_IN_STATE/filesystem" ]; then cat "$STAND_IN_STATE/filesystem"; else exit 2; fi ;;
k3s) cat "$STAND_IN_STATE/nodes" ;;
esac
