# What suites start real servers with: to be sourced, with `address` set to where they listen. They live in a folder that is removed at the end.

folder=$(mktemp -d)
# Each a signal that ends it soon, and its pid.
servers=()
finish() {
    local one signal pid
    for one in "${servers[@]}"; do
        read -r signal pid <<<"$one"
        kill -"$signal" "$pid" 2>/dev/null || continue
        # What a signal ended says so by its status, which is not that of the suite.
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$folder"
}
trap finish EXIT
chmod 755 "$folder"

free_port() { python3 -c 'import socket, sys; s = socket.socket(); s.bind((sys.argv[1], 0)); print(s.getsockname()[1])' "$address"; }

# wait_for PORT PID LOG: until the server answers; its log when it ends instead.
wait_for() {
    for _ in $(seq 300); do
        (exec 3<>"/dev/tcp/$address/$1") 2>/dev/null && return
        kill -0 "$2" 2>/dev/null || break
        sleep 0.1
    done
    cat "$3" >&2
    exit 1
}

find_postgresql() {
    for bin in "$(pg_config --bindir 2>/dev/null)" $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) "$(dirname "$(command -v postgres || echo /)")"; do
        [ -x "$bin/postgres" ] && [ -x "$bin/initdb" ] && { echo "$bin"; return; }
    done
}

# install_package NAME...: a server, from the distribution.
install_package() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "error: a server of the tests is missing; on Debian and Ubuntu: apt-get install $*" >&2
        exit 1
    fi
    echo "Installing $*"
    # The tests make a cluster of their own; the package's must neither be made nor started.
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
    apt-get update -qq
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends -o Dpkg::Options::=--force-confold "$@" >/dev/null
}

# become USER FOLDER: gives the folder to a user, or to nobody where there is none, and sets `as`, the beginning of a command line for servers that refuse to run as root. setpriv becomes the server, so that its pid is the server's.
become() {
    as=()
    [ "$(id -u)" = 0 ] || return 0
    local user=nobody
    id "$1" >/dev/null 2>&1 && user=$1
    chown "$user" "$2"
    as=(setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups)
}

start_postgresql() {
    local bin data=$folder/postgresql as port
    bin=$(find_postgresql)
    [ -n "$bin" ] || { install_package postgresql; bin=$(find_postgresql); }
    mkdir -m 700 "$data"
    become postgres "$data"
    (cd "$data" && "${as[@]}" "$bin/initdb" -D "$data/cluster" -U pachyderm --auth=trust --encoding=UTF8 --locale=C --no-sync) >"$folder/initdb.log" 2>&1 || {
        cat "$folder/initdb.log" >&2
        exit 1
    }
    # Who is a member of this role, which a test makes, is asked for a password; others are trusted.
    sed -i -e '1i host all +passwords all scram-sha-256' -e '$a host all all all trust' "$data/cluster/pg_hba.conf"
    port=$(free_port)
    # fsync off: no test cuts the power.
    (cd "$data" && exec "${as[@]}" "$bin/postgres" -D "$data/cluster" -h "$address" -p "$port" -k "$data" -F -c max_connections=300) >"$folder/postgresql.log" 2>&1 &
    servers+=("INT $!")
    wait_for "$port" $! "$folder/postgresql.log"
    export TEST_METADATA_URL=postgresql://pachyderm@$address:$port/postgres
}

start_etcd() {
    local port peer
    { command -v etcd && command -v etcdctl; } >/dev/null || install_package etcd-server etcd-client
    port=$(free_port)
    peer=$(free_port)
    etcd --data-dir "$folder/etcd" --listen-client-urls "http://$address:$port" --advertise-client-urls "http://$address:$port" \
        --listen-peer-urls "http://$address:$peer" --initial-advertise-peer-urls "http://$address:$peer" --initial-cluster "default=http://$address:$peer" \
        >"$folder/etcd.log" 2>&1 &
    servers+=("TERM $!")
    wait_for "$port" $! "$folder/etcd.log"
    export TEST_ETCD_URL=etcd://$address:$port
}

find_s3_server() {
    local version=v1.8.0 cache=${XDG_CACHE_HOME:-$HOME/.cache}/pachyderm-dagster/bin
    s3_server=$cache/versitygw-$version
    [ -x "$s3_server" ] && return
    command -v go >/dev/null || {
        echo "error: the S3 server of the tests is built from source and 'go' is missing; install Go 1.24 or newer" >&2
        exit 1
    }
    echo "Building the S3 server of the tests (two minutes the first time)"
    mkdir -p "$cache"
    GOBIN=$cache go install "github.com/versity/versitygw/cmd/versitygw@$version"
    mv "$cache/versitygw" "$s3_server"
}

start_s3() {
    local port
    find_s3_server
    mkdir -p "$folder/objects/bucket" "$folder/sidecar" "$folder/users"
    port=$(free_port)
    export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test-secret AWS_REGION=us-east-1 AWS_ENDPOINT_URL=http://$address:$port
    ROOT_ACCESS_KEY=$AWS_ACCESS_KEY_ID ROOT_SECRET_KEY=$AWS_SECRET_ACCESS_KEY \
        "$s3_server" --port "$address:$port" --iam-dir "$folder/users" posix --sidecar "$folder/sidecar" "$folder/objects" >"$folder/s3.log" 2>&1 &
    servers+=("INT $!")
    wait_for "$port" $! "$folder/s3.log"
    export TEST_STORAGE_S3_URL=s3://bucket/tests
}
