# Serve and deploy as the user nobody, where nothing can be written but a folder: WRITABLE PYTHON PREFIX STORE REPOSITORY.
# It runs in a mount namespace of its own (unshare --mount), as root.
set -eu
writable=$1 python=$2 prefix=$3 store=$4 repository=$5
mount --make-rprivate /

# Folders that only root may enter, such as /root, become empty but for what is needed below them.
closed_above() {
  local path=$1 closed=""
  while [ "$path" != / ]; do
    [ $((0$(stat -c %a "$path") & 1)) = 1 ] || closed=$path
    path=$(dirname "$path")
  done
  echo "$closed"
}
mount -t tmpfs tmpfs /mnt
needed=() closed=()
for folder in "$prefix" "$store" "$repository" "$writable" "$(dirname "$(dirname "$python")")"; do
  above=$(closed_above "$folder")
  [ -n "$above" ] || continue
  mkdir "/mnt/${#needed[@]}"
  mount --bind "$folder" "/mnt/${#needed[@]}"
  needed+=("$folder") closed+=("$above")
done
for above in $(printf '%s\n' "${closed[@]}" | sort -u); do
  mount -t tmpfs -o mode=755 tmpfs "$above"
done
for number in "${!needed[@]}"; do
  mkdir -p "${needed[$number]}"
  mount --move "/mnt/$number" "${needed[$number]}"
done
for above in $(printf '%s\n' "${closed[@]}" | sort -u); do
  mount -o remount,ro "$above"
done
mount -o remount,ro /mnt
mount --bind "$writable" "$writable"
mount -o remount,bind,ro /

cd "$repository"
exec setpriv --reuid=65534 --regid=65534 --clear-groups \
  env --unset=TMPDIR --unset=HOME PYTHONPATH="$repository" bash -c '
    set -eu
    ! touch /tmp/gridline-probe 2>/dev/null
    folder=$1/s
    "$2" -m jobs serve stores --store "$4" --folder "$folder" --host ::1 --port 0 --management-port 0 --metrics-port 0 --status-port 0 \
      --json > "$1/document" &
    server=$!
    trap "kill -KILL $server 2>/dev/null || true" EXIT
    until [ -s "$1/document" ]; do kill -0 $server; sleep 0.1; done
    url=$("$2" -c "import json, sys; print(json.load(open(sys.argv[1]))[\"url\"].split(\"/predictions\")[0])" "$1/document")
    management=$("$2" -c "import json, sys; print(json.load(open(sys.argv[1]))[\"management_url\"])" "$1/document")
    "$2" -m jobs predict stores --url "$url" --token-file "$folder" --dataset north --set area=3 --set depth=1
    "$2" -m jobs deploy stores --store "$4" --management "$management" --token-file "$folder"
    kill -TERM $server
    code=0; wait $server || code=$?
    echo $code
    stat -c %u "$folder/torchserve.log"
  ' nobody "$writable" "$python" "$prefix" "$store" "$repository"
