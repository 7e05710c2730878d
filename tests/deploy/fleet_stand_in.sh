#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Stands in for terraform, ssh, k3s and kubectl in tests of deploy/ec2, by whose name it is called: a fleet of three servers, of
# which the first has made the tokens, and two gateways. Every call becomes a line of STAND_IN_STATE/calls, and what is
# written on an instance a file of STAND_IN_STATE/written. Other calls of kubectl go to stand_in.py.
program=${0##*/}
line="$*"

terraform() {
    case $line in
    *' plan '*) [ -e "$STAND_IN_STATE/unchanged" ] && exit 0 || exit 2 ;;
    *' show '*) [ -e "$STAND_IN_STATE/unchanged" ] || echo '  + blob_server = "10.64.0.10"' ;;
    *'-raw blob_server') [ -e "$STAND_IN_STATE/made" ] && printf 10.64.0.10 || echo 'Warning: No outputs found' ;;
    *'-raw servers') printf 'i-s1@203.0.113.1 i-s2@203.0.113.2 i-s3@203.0.113.3' ;;
    *'-raw gateways') printf 'i-g1@198.51.100.1 i-g2@198.51.100.2' ;;
    *'-raw urls') printf 'http://198.51.100.1:30080,http://198.51.100.2:30080' ;;
    *' apply '*) touch "$STAND_IN_STATE/made" ;;
    esac
}

ssh() {
    instance=$(echo "$line" | sed 's/.*HostKeyAlias=\([^ ]*\) .*/\1/')
    written=$STAND_IN_STATE/written/$instance
    mkdir -p "$STAND_IN_STATE/written"
    case $line in
    *' sudo sh -seu '*) sh -seu "${line##* }" ;;
    *'crictl pull '*) # nobody else has it: only what is shared as a whole can be had
        image=${line#*crictl pull }
        grep -qxF "${image%%:*}" "$STAND_IN_STATE/shared" 2>/dev/null
        ;;
    *'cat >'*) cat >"$written$(echo "$line" | sed 's/.*cat >\([^ ]*\)\.new .*/\1/' | tr / _)" ;;
    *'test -s /var/lib/rancher/millrace/tokens/server'*)
        [ "$instance" = i-s1 ] || [ -e "${written}_var_lib_rancher_millrace_tokens_agent" ]
        ;;
    *'test -s /etc/millrace/token') [ -e "${written}_etc_millrace_token" ] ;;
    *'cat /var/lib/rancher/k3s/server/agent-token') echo K10SECRET::agent ;;
    *'cat /var/lib/rancher/millrace/tokens/'*) printf SERVER-SECRET ;;
    *'cat /etc/rancher/k3s/k3s.yaml') echo 'server: https://127.0.0.1:6443' ;;
    *'images ls'*) cat "$STAND_IN_STATE/imported" 2>/dev/null || true ;;
    *'images import'*)
        cat >/dev/null
        echo there >"$STAND_IN_STATE/next-imported"
        ;;
    *'-O exit'*) [ ! -e "$STAND_IN_STATE/next-imported" ] || mv "$STAND_IN_STATE/next-imported" "$STAND_IN_STATE/imported" ;;
    esac
}

# containerd of a server, with an image that was imported: an index (1) of a manifest (2) that is there, with its
# configuration (3) and a layer (4), and of one that is not there (9).
k3s() {
    last=${line##* }
    case $line in
    *'images ls '*) printf 'REF TYPE DIGEST SIZE\n%s type %s 1MiB\n' "${last#name==}" "$(hash 1)" ;;
    *'content get '*)
        case $last in
        "$(hash 1)") printf '{"manifests": [{"digest": "%s"}, {"digest":"%s"}]}' "$(hash 2)" "$(hash 9)" ;;
        "$(hash 2)") printf '{"config": {"digest": "%s"}, "layers": [{"digest": "%s"}]}' "$(hash 3)" "$(hash 4)" ;;
        *) exit 1 ;;
        esac
        ;;
    *'content label '*"$(hash 9)"*) exit 1 ;;
    *'content label '*) echo "$line" | sed 's/.*content label //' >>"$STAND_IN_STATE/labels" ;;
    *'images tag '*) # from here on others are told what there is of it
        repository=${last%@*}
        [ "${last#*@}" = "$(hash 1)" ] || exit 1
        for one in 1 2 3 4; do
            grep -qxF "$(hash $one) containerd.io/distribution.source.${repository%%/*}=${repository#*/}" \
                "$STAND_IN_STATE/labels" || exit 1
        done
        echo "$repository" >>"$STAND_IN_STATE/shared"
        ;;
    esac
}

hash() { printf 'sha256:%064d' "$1"; }

cluster() {
    case $line in
    'kustomize '*) exec "$(other kubectl)" "$@" ;;
    'get nodes -l '*)
        for one in 1 2 3; do echo "node-$one   Ready   <none>   1m   v1.34.9+k3s1"; done
        ;;
    *'get deployment rabbitmq-cluster-operator') exit 1 ;;
    *cluster-operator.yml | *cloud-controller | *'wait --for=condition=AllReplicasReady'* | *'rollout status'*) ;;
    *'wait --for=condition=Available'*) ;;
    *) exec "$STAND_IN_PROGRAMS/kubectl" "$@" ;;
    esac
}

# The real program of that name: the first in PATH that is none of the stand-ins.
other() {
    IFS=:
    for folder in $PATH; do
        [ "$folder" != "${0%/*}" ] && [ "$folder" != "$STAND_IN_PROGRAMS" ] && [ -x "$folder/$1" ] || continue
        echo "$folder/$1"
        return
    done
}

case $program in
terraform) echo "$program $line" >>"$STAND_IN_STATE/calls" && terraform ;;
ssh) echo "$program $line" >>"$STAND_IN_STATE/calls" && ssh ;;
k3s) k3s ;;
kubectl) echo "$program $line" >>"$STAND_IN_STATE/calls" && cluster "$@" ;;
esac
