# Make infra/compose/.env, which compose.yaml reads, from .env.example, with a new secret for each name. An older file is kept.
set -eu
cd "$(dirname "$0")"
[ ! -e .env ] || { echo "infra/compose/.env is there already: remove it to make new secrets"; exit 0; }
umask 077
grep -v '^#' .env.example | while IFS='=' read -r name _; do
    printf '%s=%s\n' "$name" "$(od -An -N20 -tx1 /dev/urandom | tr -d ' \n')"
done > .env.new
mv .env.new .env
echo "made infra/compose/.env"
