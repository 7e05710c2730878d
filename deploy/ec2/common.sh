# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# What up, down and tunnel of this folder share. Everything particular to a fleet, secrets included, is in a folder of the
# user's own, never in the repository: the key for ssh, Terraform's state, the settings, the way to the cluster.

script=deploy/ec2
# shellcheck source=deploy/common.sh
. "$here/deploy/common.sh"

# Asks of Terraform that the region is none but AWS's, of us that names can be parts of paths.
choose_fleet() { # REGION NAME
    case $1$2 in
    *[!a-z0-9-]*) fail "a region or a name is of lower-case letters, digits and hyphens" ;;
    esac
    region=$1
    name=$2
    folder=${XDG_CONFIG_HOME:-$HOME/.config}/millrace/ec2-$region-$name
}

# ---- Terraform ------------------------------------------------------------------------

# In a copy of the root, so that two fleets do not share a lock file or a folder of providers.
prepare() {
    if command -v terraform >/dev/null; then
        terraform=terraform
    elif command -v tofu >/dev/null; then
        terraform=tofu
    else
        fail "neither terraform nor tofu is installed"
    fi
    need ssh ssh-keygen
    umask 077
    mkdir -p "$folder/root"
    [ -e "$folder/key" ] || ssh-keygen -q -t ed25519 -N '' -C "millrace-$name" -f "$folder/key"
    said=$folder/said.tfvars
    touch "$folder/terraform.tfvars" "$said"
    rm -rf "$folder/root/node"
    cp "$here"/deploy/ec2/*.tf "$folder/root/"
    cp -R "$here/deploy/ec2/node" "$folder/root/"
    run_terraform init -input=false -backend-config="path=$folder/terraform.tfstate" >"$folder/init.log" 2>&1 ||
        fail "$terraform cannot begin: $(cat "$folder/init.log")"
}

run_terraform() { "$terraform" -chdir="$folder/root" "$@"; }

# Shows what would change; false when nothing would.
plan() { # ARGUMENT..
    status=0
    run_terraform plan -input=false -detailed-exitcode -out="$folder/plan" -var-file="$folder/terraform.tfvars" \
        -var-file="$said" \
        -var "region=$region" -var "name=$name" -var "ssh_public_key=$(cat "$folder/key.pub")" "$@" || status=$?
    case $status in
    0) return 1 ;;
    2) return 0 ;;
    *) exit 1 ;;
    esac
}

approve() { # QUESTION
    [ -z "$is_approved" ] || return 0
    [ -t 0 ] || fail "nobody is there to approve: --yes does"
    printf '%s [yes/no] ' "$1"
    read -r answer
    [ "$answer" = yes ] || fail "nothing was changed"
}

output() { run_terraform output -raw "$1"; }

# ---- instances ------------------------------------------------------------------------

# An instance is ID@ADDRESS: an address that goes to another instance is another host to ssh.
on() { # INSTANCE COMMAND..
    instance=$1
    shift
    run_ssh "$instance" "$@"
}

run_ssh() { # INSTANCE ARGUMENT..
    host=$1
    shift
    ssh -i "$folder/key" -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=15 \
        -o UserKnownHostsFile="$folder/known_hosts" -o StrictHostKeyChecking=accept-new \
        -o HostKeyAlias="${host%@*}" "admin@${host#*@}" "$@"
}

# Repeats a command until it succeeds.
await() { # SECONDS WHAT COMMAND..
    left=$1
    what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        left=$((left - 5))
        [ "$left" -gt 0 ] || fail "waited in vain: $what"
        sleep 5
    done
}

# A server whose cluster answers.
find_server() { # "INSTANCE.."
    for server in $1; do
        if on "$server" sudo k3s kubectl get --raw /readyz >/dev/null 2>&1; then return; fi
    done
    return 1
}

# The cluster's API has no address outside of the network: kubectl goes through ssh.
open_tunnel() {
    port=16443
    rm -f "$folder/tunnel"
    until run_ssh "$server" -f -N -M -S "$folder/tunnel" -o ExitOnForwardFailure=yes \
        -L "127.0.0.1:$port:127.0.0.1:6443" 2>"$folder/tunnel.log"; do
        port=$((port + 1))
        [ "$port" -lt 16463 ] || fail "no tunnel: $(cat "$folder/tunnel.log")"
    done
    trap close_tunnel EXIT
    trap 'exit 1' HUP INT TERM
    on "$server" sudo cat /etc/rancher/k3s/k3s.yaml | sed "s/127.0.0.1:6443/127.0.0.1:$port/" >"$folder/kubeconfig"
    export KUBECONFIG="$folder/kubeconfig"
}

close_tunnel() { run_ssh "$server" -S "$folder/tunnel" -O exit 2>/dev/null || true; }
