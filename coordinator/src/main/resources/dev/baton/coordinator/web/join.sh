#!/bin/sh
# Makes this machine a worker of the coordinator that served this script:
#
#   curl ... /join | sh -s -- TOKEN [--work-dir DIR] [options of baton worker]
#
# Needs curl, tar, gzip, sha256sum and awk; no root, no Java. Everything lies in one folder
# (default: ~/baton-worker). Pasted again it goes on where it stopped, and updates.
# Exit codes: 0 the worker is ready, 1 it failed, 2 wrong usage, 5 the coordinator does not answer.
set -eu
unset CDPATH

base='@BASE_URL@'
# One line each, the newest last: name, bytes, SHA-256.
archives='@ARCHIVES@'

say() { printf 'baton: %s\n' "$*" >&2; }
fail() {
  code=$1
  shift
  say "$*"
  exit "$code"
}
die() { fail 1 "$@"; }

# Sets pin and address from the token; pin as curl takes it.
check_token() {
  right='expected baton_ID_SECRET.PIN.HOST:PORT, as "baton token create --role worker" prints it'
  [ -n "$token" ] || fail 2 "no token: $right"
  case $token in
    *[!]A-Za-z0-9_.:%[-]*) fail 2 "that is no token (a character that none has): $right" ;;
    baton_*_*.*.*:*) ;;
    *) fail 2 "that is no whole token: $right" ;;
  esac
  rest=${token#*.}
  pin=${rest%%.*}
  address=${rest#*.}
  case $pin:$base in
    plain:http://* | ca:https://*) ;;
    plain:*) die "the token is for a coordinator without TLS, and this script came from one with TLS ($base)" ;;
    *:http://*) die "the token wants TLS, and this script came without it ($base); paste the line as it was printed" ;;
    *)
      [ ${#pin} -eq 43 ] || fail 2 "that is no whole token (its fingerprint has ${#pin} characters, not 43): $right"
      pin="sha256//$(printf %s "$pin" | tr '_-' '/+')="
      ;;
  esac
}

check_machine() {
  case $(uname -s)-$(uname -m) in
    Linux-x86_64) ;;
    *) die "this is $(uname -s) on $(uname -m); a worker needs Linux on x86_64" ;;
  esac
  for tool in curl tar gzip sha256sum awk; do
    command -v "$tool" >/dev/null 2>&1 || die "$tool is missing here"
  done
}

# The newest archive that is served for cpu, cu12 or cu13.
served() { printf '%s\n' "$archives" | grep -e "-linux-x86_64-$1\.tar\.gz " | tail -n 1 || true; }

# Prints driver's major version, ten times the least compute capability (0: unknown), and the
# first GPU's name; nothing where there is no GPU.
probe_gpus() {
  for smi in nvidia-smi /usr/bin/nvidia-smi /opt/bin/nvidia-smi /usr/local/nvidia/bin/nvidia-smi \
    /usr/lib/wsl/lib/nvidia-smi; do
    command -v "$smi" >/dev/null 2>&1 || continue
    # A broken driver may never answer.
    limit=''
    if command -v timeout >/dev/null 2>&1; then limit='timeout 30'; fi
    # Old drivers do not know compute_cap.
    { $limit "$smi" --query-gpu=driver_version,compute_cap,name --format=csv,noheader 2>/dev/null \
      || $limit "$smi" --query-gpu=driver_version,name --format=csv,noheader 2>/dev/null \
      || true; } | LC_ALL=C awk -F', *' '
        $1 ~ /^[0-9]+(\.[0-9]+)*$/ {
          cap = $2 ~ /^[0-9]+\.[0-9]+$/ ? int($2 * 10 + 0.5) : 0
          if (!gpus++) { driver = int($1); least = cap; name = $NF }
          if (cap < least) least = cap
        }
        END { if (gpus) print driver, least, name }'
    return
  done
}

# Sets name, bytes and sha256 of the archive to take; says which and why.
choose() {
  [ -n "$archives" ] || die "the coordinator serves no worker archives; it is to be started with --releases DIR (what deploy/release makes)"
  gpu=$(probe_gpus)
  chosen='' variant=''
  if [ -z "$gpu" ]; then
    variant=cpu
    why='nvidia-smi finds no GPU here'
  else
    driver=${gpu%% *}
    rest=${gpu#* }
    capability=${rest%% *}
    model=${rest#* }
    about="$model, driver $driver, compute capability $((capability / 10)).$((capability % 10))"
    fitting=''
    if [ "$driver" -ge 580 ] && [ "$capability" -ge 75 ]; then fitting='cu13 cu12'
    elif [ "$driver" -ge 525 ] && [ "$capability" -ge 60 ]; then fitting=cu12; fi
    for candidate in $fitting; do
      if [ -n "$(served "$candidate")" ]; then
        variant=$candidate
        why=$about
        [ "$candidate" = "${fitting%% *}" ] || why="$about; no ${fitting%% *} archive is served"
        break
      fi
    done
    if [ -z "$variant" ]; then
      if [ "$driver" -lt 525 ]; then problem='its driver is too old (525 or newer is needed)'
      elif [ -z "$fitting" ]; then problem='the GPU is too old (compute capability 6.0 or more is needed)'
      else problem="the coordinator serves no archive for it ($fitting)"; fi
      [ -n "$allow_cpu" ] \
        || die "the GPU here cannot be used ($about): $problem; add --allow-cpu to the line to train on the CPUs"
      variant=cpu
      why="--allow-cpu; $about: $problem"
    fi
  fi
  chosen=$(served "$variant")
  [ -n "$chosen" ] || die "the coordinator serves no $variant archive ($why)"
  name=${chosen%% *}
  rest=${chosen#* }
  bytes=${rest%% *}
  sha256=${rest#* }
  say "$name ($((bytes / 1000000)) MB): $why"
}

call_curl() {
  case $pin in
    sha256//*) curl -k --pinnedpubkey "$pin" "$@" ;;
    *) curl "$@" ;;
  esac
}

size() { if [ -f "$1" ]; then wc -c <"$1" | tr -d ' '; else echo 0; fi; }

# Brings the archive to $part, going on with what is there already.
download() {
  url=$base/releases/$name
  failures=0
  pause=1
  if [ -t 2 ]; then progress=--progress-bar; else progress=-sS; fi
  while :; do
    had=$(size "$part")
    if [ "$had" -gt "$bytes" ]; then
      rm -f "$part"
      had=0
    fi
    [ "$had" -lt "$bytes" ] || return 0
    code=0
    # A stalled connection counts as a broken one.
    status=$(call_curl -f $progress --connect-timeout 20 --speed-limit 1000 --speed-time 30 \
      -C - -o "$part" -w '%{http_code}' "$url") || code=$?
    [ $code -ne 0 ] || return 0
    case $code:$status in
      90:*) die "the server at $base has another key than the token names: it is not the coordinator that made the token, or its certificate was replaced; make a new token" ;;
      35:* | 51:* | 60:* | 77:* | 83:*) die "no TLS with $base (curl's exit code $code)" ;;
      22:429 | 22:50[234]) ;;
      22:416 | 33:*) rm -f "$part" ;;
      22:*) die "$url: HTTP status $status; paste the line again (a new release may have come)" ;;
      23:*) die "cannot write $part: is the disk full?" ;;
    esac
    if [ "$(size "$part")" -gt "$had" ]; then
      failures=0
      pause=1
    fi
    failures=$((failures + 1))
    [ $failures -le 8 ] || die "the download of $url fails (curl's exit code $code); paste the line again, it goes on where it stopped"
    say "the download stopped at $(($(size "$part") / 1000000)) of $((bytes / 1000000)) MB; it goes on in $pause s"
    sleep $pause
    pause=$((pause < 15 ? pause * 2 : 15))
  done
}

# Makes $release, whole or not at all.
install() {
  if [ -x "$release/bin/baton" ]; then
    return
  fi
  mkdir -p "$work/download"
  part=$work/download/$sha256.part
  for attempt in 1 2; do
    download
    sum=$(sha256sum <"$part")
    sum=${sum%% *}
    [ "$sum" != "$sha256" ] || break
    rm -f "$part"
    [ $attempt -eq 1 ] || die "$name is damaged on the coordinator: its SHA-256 is $sum, not $sha256; nothing was installed"
  done
  rm -rf "$release.new"
  mkdir -p "$release.new"
  tar -xzof "$part" -C "$release.new" || die "cannot unpack $name to $release.new: is the disk full?"
  top=$release.new/${name%.tar.gz}
  [ -x "$top/bin/baton" ] || die "$name holds no ${name%.tar.gz}/bin/baton"
  mv "$top" "$release"
  rm -rf "$release.new" "$work/download"
}

# A dead child that nobody has waited for is not alive.
alive() { kill -0 "$1" 2>/dev/null && ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null; }

# Sets running to the pid of the worker that this script started in $work, if it lives.
find_running() {
  running=''
  if [ -s "$work/worker.pid" ]; then
    pid=$(cat "$work/worker.pid")
    # After a restart of the machine the number may be another process's.
    if alive "$pid" && [ "$(readlink "/proc/$pid/cwd")" = "$work" ]; then
      running=$pid
    fi
  fi
}

tell() {
  printf '%s\n' \
    "  its log:   tail -f $work/worker.log" \
    "  to see it: baton workers, where the client is" \
    "  to stop:   kill $1        (it hands its jobs over first)" \
    "  to remove: rm -rf $work   (once it has stopped; nothing lies elsewhere)"
}

stop_running() {
  say "stopping the worker that runs (pid $running): it hands its jobs over"
  kill "$running" 2>/dev/null || true
  waited=0
  while alive "$running"; do
    [ $waited -lt 180 ] || die "the worker (pid $running) still runs after 180 s; see $work/worker.log"
    sleep 1
    waited=$((waited + 1))
  done
}

# Starts the worker, in a session of its own, with everything that it might write in $work.
start() {
  mkdir -p "$work/cache/tmp"
  printf '%s\n' "$token" >"$work/token.new"
  mv -f "$work/token.new" "$work/token"
  : >"$work/worker.out"
  detach=''
  if command -v setsid >/dev/null 2>&1; then detach='setsid'; fi
  (
    cd "$work"
    # What ignores the terminal's end here does so in what it becomes.
    trap '' HUP
    unset BATON_TOKEN BATON_COORDINATOR JAVA_HOME
    # HOME stays: Python environments with CUDA's libraries may be there.
    # shellcheck disable=SC2086
    exec env TMPDIR="$work/cache/tmp" XDG_CACHE_HOME="$work/cache" CUDA_CACHE_PATH="$work/cache/cuda" \
      $detach "$release/bin/baton" worker --token-file "$work/token" --work-dir "$work" "$@"
  ) >"$work/worker.out" 2>&1 </dev/null &
  starting=$!
  echo "$starting" >"$work/worker.pid"
}

await_ready() {
  waited=0
  until grep -q '^ready worker=' "$work/worker.out"; do
    if ! alive "$starting"; then
      starting=''
      rm -f "$work/worker.pid" "$work/token"
      reason=$(sed -n 's/^error: //p' "$work/worker.out" | tail -n 1)
      [ -z "$reason" ] || die "the worker ended: $reason"
      tail -n 10 "$work/worker.out" | cut -c 1-400 >&2
      die "the worker ended; the rest of its output: $work/worker.out"
    fi
    [ $waited -lt 300 ] || fail 5 "the coordinator at $address does not answer (is that port open?); the worker is stopped, its output: $work/worker.out"
    sleep 0.2 2>/dev/null || sleep 1
    waited=$((waited + 1))
  done
}

# Whatever happens, no half-started worker is left, and no folder without anything in it.
clean_up() {
  if [ -n "$starting" ]; then
    kill "$starting" 2>/dev/null || true
    rm -f "$work/worker.pid" "$work/token"
  fi
  rm -rf "$work/joining" "$work"/release/*.new
  rmdir "$work/release" "$work/download" "$work" 2>/dev/null || true
}

main() {
  token=''
  work=''
  allow_cpu=''
  starting=''
  if [ $# -gt 0 ]; then
    token=$1
    shift
  fi
  left=$#
  while [ "$left" -gt 0 ]; do
    word=$1
    shift
    left=$((left - 1))
    case $word in
      --work-dir)
        [ "$left" -gt 0 ] || fail 2 '--work-dir: the folder is missing'
        work=$1
        shift
        left=$((left - 1))
        ;;
      --work-dir=*) work=${word#*=} ;;
      --token-file | --token-file=*) fail 2 "$word: the token is the first word after 'sh -s --'" ;;
      *)
        [ "$word" != --allow-cpu ] || allow_cpu=yes
        set -- "$@" "$word"
        ;;
    esac
  done
  check_token
  check_machine
  [ -n "$work" ] || work=${HOME:?is not set: give --work-dir DIR}/baton-worker
  umask 077
  mkdir -p -- "$work" || die "cannot make the folder $work; give another by --work-dir DIR"
  work=$(cd -- "$work" && pwd -P)
  # noclobber makes the file only where there is none.
  if ! (set -C && echo $$ >"$work/joining") 2>/dev/null; then
    other=$(cat "$work/joining" 2>/dev/null || true)
    if [ -n "$other" ] && alive "$other"; then
      die "another join works on $work (pid $other)"
    fi
    echo $$ >"$work/joining"
  fi
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP

  choose
  release=$work/release/$(printf %.16s "$sha256")
  find_running
  # What runs was started by this: the archive, the token and the options.
  wanted=$(printf '%s\n' "$release" "$token" "$@" | sha256sum)
  if [ -n "$running" ] && [ "$wanted" = "$(cat "$work/started" 2>/dev/null || true)" ]; then
    say "the worker runs already (pid $running)"
    tell "$running"
    return
  fi
  install
  [ -z "$running" ] || stop_running
  start "$@"
  await_ready
  printf '%s\n' "$wanted" >"$work/started"
  pid=$starting
  starting=''
  for old in "$work"/release/*; do
    [ "$old" = "$release" ] || rm -rf "$old"
  done
  say "$(sed -n 's/^ready worker=/ready: worker /p' "$work/worker.out") (pid $pid)"
  tell "$pid"
}

# Nothing runs before the whole script has arrived.
main "$@"
