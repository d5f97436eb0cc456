# Run a command as user 1000 with no rights, on a read-only root: NEEDED… -- SOURCE:TARGET… -- COMMAND…
# Each SOURCE is shown at TARGET, and the first of them alone can be written. NEEDED are folders of this machine that the command uses.
# It runs in namespaces of its own, as root: unshare --mount --net --pid --fork --kill-child.
set -eu
needed=() places=()
while [ "$1" != -- ]; do needed+=("$1"); shift; done
shift
while [ "$1" != -- ]; do places+=("$1"); needed+=("${1%%:*}"); shift; done
shift
mount --make-rprivate /
ip link set lo up

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
kept=() closed=()
for folder in "${needed[@]}"; do
  above=$(closed_above "$folder")
  [ -n "$above" ] || continue
  mkdir "/mnt/${#kept[@]}"
  mount --bind "$folder" "/mnt/${#kept[@]}"
  kept+=("$folder") closed+=("$above")
done
for above in $(printf '%s\n' "${closed[@]}" | sort -u); do
  mount -t tmpfs -o mode=755 tmpfs "$above"
done
for number in "${!kept[@]}"; do
  mkdir -p "${kept[$number]}"
  mount --move "/mnt/$number" "${kept[$number]}"
done

# A TARGET that this machine lacks is made in a copy of the folder above it, which shows what is there.
copied() {
  local entry copy="/mnt/copy of ${1//\//-}"
  mkdir "$copy"
  mount -t tmpfs -o mode=755 tmpfs "$copy"
  for entry in "$1"/* "$1"/.[!.]*; do
    if [ -L "$entry" ]; then
      cp -P "$entry" "$copy/"
    elif [ -d "$entry" ]; then
      mkdir "$copy/${entry##*/}"
      mount --rbind "$entry" "$copy/${entry##*/}"
    elif [ -e "$entry" ]; then
      touch "$copy/${entry##*/}"
      mount --bind "$entry" "$copy/${entry##*/}"
    fi
  done
  mount --move "$copy" "$1"
}
for place in "${places[@]}"; do
  target=${place#*:}
  if [ ! -d "$target" ]; then
    copied "$(dirname "$target")"
    mkdir "$target"
  fi
  mount --bind "${place%%:*}" "$target"
done
mount -t proc proc /proc
mapfile -t mounts < <(while read -r _ _ _ _ point _; do printf '%b\n' "$point"; done </proc/self/mountinfo)
for point in "${mounts[@]}"; do
  case "$point" in
  "${places[0]#*:}" | /proc* | /sys* | /dev*) ;;
  *) ! mountpoint -q "$point" || mount -o remount,bind,ro "$point" ;; # what another mount hides is none
  esac
done
exec setpriv --reuid=1000 --regid=1000 --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all "$@"
