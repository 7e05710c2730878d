# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2154 # the reader sets: here verb region name has_yes
# What deploy/up and deploy/down have in common; read by them.

script=deploy/$verb
# shellcheck source=deploy/common.sh
. "$here/deploy/common.sh"

# Everything about one cluster that is not in the account lies here. Without backend.hcl that includes Terraform's state, which
# says what was made: whoever loses it has to take the cluster down by hand.
choose_cluster() {
    case $region,$name in
    *[!a-z0-9,-]* | ,* | *,) fail "a region is such as eu-central-1, a name lower-case letters, digits and hyphens" ;;
    esac
    root=$here/deploy/aws
    state=$root/state/$region-$name
    mkdir -p "$state"
    chmod 700 "$root/state" "$state"
    said=$state/said.tfvars
    export KUBECONFIG="$state/kubeconfig" # this cluster, whichever one kubectl means elsewhere
    export TF_DATA_DIR="$state/data" TF_IN_AUTOMATION=1
    export AWS_PAGER=
    terraform=$(command -v terraform || command -v tofu) || fail "neither terraform nor tofu is installed"
}

tf() { "$terraform" "-chdir=$root" "$@"; }

# A command of Terraform, with what is known of this cluster. What was said to deploy/up comes last and wins.
tf_with_variables() {
    set -- "$@" -var "region=$region" -var "name=$name"
    for file in "$root/$region-$name.tfvars" "$state/addons.tfvars.json" "$said"; do
        [ ! -f "$file" ] || set -- "$@" "-var-file=$file"
    done
    tf "$@"
}

is_said() { grep -qs "^ *$1 *=" "$root/$region-$name.tfvars" "$said"; }

# Which backend is a matter of this file; Terraform takes only a literal.
open_state() {
    if [ -f "$root/backend.hcl" ]; then
        backend=s3
        set -- -backend-config=backend.hcl "-backend-config=key=$region/$name.tfstate"
    else
        backend=local
        set -- "-backend-config=path=$state/terraform.tfstate"
    fi
    printf 'terraform {\n  backend "%s" {}\n}\n' $backend >"$root/backend_override.tf"
    tf init -input=false "$@" >"$state/init.log" 2>&1 || {
        cat "$state/init.log" >&2
        fail "terraform init failed"
    }
}

is_known_to_aws() { command -v aws >/dev/null && aws sts get-caller-identity --output text >/dev/null 2>&1; }

# Whoever cannot be asked is not taken for an account without it.
cluster_is_there() {
    found=$(aws eks list-clusters --region "$region" --query "clusters[?@=='$name']|[0]" --output text) ||
        fail "AWS does not say which clusters there are"
    [ "$found" = "$name" ]
}

# One that is being made or unmade, or that failed, cannot be asked, and nothing is in it: up puts nothing into the one, and
# down has emptied the other before.
cluster_answers() {
    status=$(aws eks describe-cluster --region "$region" --name "$name" --query cluster.status --output text) ||
        fail "AWS does not say how the cluster is"
    case $status in CREATING | DELETING | FAILED | PENDING) return 1 ;; esac
}

point_kubectl() {
    aws eks update-kubeconfig --region "$region" --name "$name" --kubeconfig "$KUBECONFIG" >/dev/null
    chmod 600 "$KUBECONFIG"
}

# Runs a command again, each ten seconds, until it succeeds or so many times have passed.
until_true() { # TIMES COMMAND..
    times=$1
    shift
    until "$@"; do
        times=$((times - 1))
        [ "$times" -gt 0 ] || return 1
        sleep "${MILLRACE_PAUSE:-10}"
    done
}

ask() {
    [ -z "$has_yes" ] || return 0
    [ -t 0 ] || fail "nobody is there to ask; --yes answers"
    printf '%s ' "$1"
    read -r answer
    [ "$answer" = "$2" ] || fail "nothing was done"
}
