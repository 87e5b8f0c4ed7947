#!/bin/sh
# Makes the secrets of docker-compose.yml that are not there yet, in SECRETS_DIR or deploy/secrets.
#
# The folder is what keeps other users of this machine out (0700); the files in it can be read by all (0444).
# Compose mounts a file with the owner and mode that it has here and ignores the uid, gid and mode that a secret may
# be given, and two users who do not exist here must read the passwords of the database: the postgres image's and 65532, the service's.
# With mode 0600 neither could. A container sees only the files that its service is given.
#
# PostgreSQL learns its passwords when its volume is made; new ones must be told to it with ALTER ROLE.
set -eu
umask 077
dir=${SECRETS_DIR:-$(dirname "$0")/secrets}
mkdir -p "$dir"
chmod 0700 "$dir"
for name in db_password db_service_password secret_key; do
    file=$dir/$name
    if [ ! -s "$file" ]; then
        od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$file.new"
        mv "$file.new" "$file"
        echo "made $file"
    fi
    chmod 0444 "$file"
done
