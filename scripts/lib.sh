# shellcheck shell=bash
# Shared by the scripts beside it: sourced, not run. What is started here is stopped at exit.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tmp=$(mktemp -d)
started=()

finish() {
  local status=$?
  if ((${#started[@]})); then
    kill "${started[@]}" 2>/dev/null || true
    wait "${started[@]}" 2>/dev/null || true
  fi
  rm -rf "$tmp"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

die() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

# Prints the comment block at the top of a script: that is its help.
usage() {
  sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"
}

# Sets `bin`: $BIN, else a fresh release build, else (no source or no cargo here) the one that lies next to scripts/ or in PATH.
find_binary() {
  local name=claude-loadbalancer
  bin=${BIN:-}
  if [[ -z $bin && -f $root/Cargo.toml ]] && command -v cargo >/dev/null; then
    (cd "$root" && cargo build --release --locked --quiet)
    bin=${CARGO_TARGET_DIR:-target}/release/$name
    [[ $bin == /* ]] || bin=$root/$bin
  elif [[ -z $bin && -x $root/$name ]]; then
    bin=$root/$name
  elif [[ -z $bin ]]; then
    bin=$(command -v $name) || die "no binary: set BIN, or install cargo"
  fi
  [[ -x $bin ]] || die "$bin is not a program"
}

# start NAME COMMAND...: in the background, its output in $tmp/NAME.log, its process id in `pid`.
start() {
  local log=$tmp/$1.log
  shift
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  started+=("$pid")
}

# await NAME REGEX: prints the first match of the extended REGEX in the log of NAME; dies when there is none after 15 s.
await() {
  local end=$((SECONDS + 15))
  until grep -m1 -oE -- "$2" "$tmp/$1.log" 2>/dev/null; do
    ((SECONDS < end)) || die "$1 did not say '$2': $(tail -5 "$tmp/$1.log")"
    sleep 0.05
  done
}

# install_browser PACKAGE...: Chromium, with apt where it is missing, and packages of npm in $tmp.
install_browser() {
  local as_root=()
  if ! command -v chromium >/dev/null; then
    ((EUID == 0)) || as_root=(sudo -n)
    "${as_root[@]}" apt-get update -qq || true
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends chromium >/dev/null
  fi
  npm install --prefix "$tmp" --silent --no-audit --no-fund "$@"
}

# install_sdks FILE: the official Claude SDKs for Python, in $tmp/venv, and for Node, in $tmp, where FILE of scripts/test is to run.
# PYTHON_SDK and NODE_SDK pin a version.
install_sdks() {
  python3 -m venv "$tmp/venv"
  "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check "anthropic${PYTHON_SDK:+==$PYTHON_SDK}"
  # Node finds a package from the folder that the importing file lies in.
  cp "$root/scripts/test/$1" "$tmp/"
  npm install --prefix "$tmp" --silent --no-audit --no-fund "@anthropic-ai/sdk${NODE_SDK:+@$NODE_SDK}"
}

# say LINE: prints it, and keeps it in $tmp/result, where `ok` and `FAIL` are counted at the end.
say() { echo "$*" | tee -a "$tmp/result"; }

# expect NAME WHAT COMMAND...: its success is the check.
expect() {
  # In the background: within a condition bash does not heed a function's own `set -e`.
  "${@:3}" >"$tmp/expect.log" 2>&1 &
  if wait $!; then
    say "ok   $1 $2"
  else
    say "FAIL $1 $2: $(tail -3 "$tmp/expect.log")"
  fi
}
