# Brings a checkout to where it can run: sourced by scripts/quickstart and scripts/test.
# Installs only what is missing, and says what. Debian packages need root; without it they are named instead.

say() { printf '%s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# need_debian COMMAND=PACKAGE…: installs the package of every command that is missing.
need_debian() {
  missing=
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null 2>&1 || missing="$missing ${pair#*=}"
  done
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    die "missing programs. Install these Debian packages and run this again:$missing"
  fi
  say "installing Debian packages:$missing"
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086 # one word a package
  apt-get update -qq >/dev/null && apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
    die "apt-get could not install:$missing"
}

# need_library NAME=PACKAGE: installs the package of a shared library that is missing.
need_library() {
  ls /usr/lib/*/"${1%%=*}" /lib/*/"${1%%=*}" >/dev/null 2>&1 || need_debian "/no/such/program=${1#*=}"
}

need_node() {
  command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 ||
    die "Node 18 or newer and npm are needed (Debian: apt-get install nodejs npm)"
  major=$(node -p 'process.versions.node.split(".")[0]')
  [ "$major" -ge 18 ] || die "Node 18 or newer is needed to install; this is $(node --version)"
}

run_npm() { npm install --no-save --no-audit --no-fund --loglevel=error >&2; }

# The npm packages, among them the Node 24 that everything runs on. `npm ci` would insist on lock entries for
# operating systems that we do not support.
install_packages() {
  if [ node_modules/.package-lock.json -nt package-lock.json ] && [ -x node_modules/.bin/node ]; then return 0; fi
  say "installing npm packages into ./node_modules"
  run_npm || die "npm could not install the packages"
  # npm leaves out optional packages (those of the clouds) that want a newer Node than its own. The first run has brought one.
  PATH="$PWD/node_modules/.bin:$PATH" run_npm || die "npm could not install the optional packages"
  touch node_modules/.package-lock.json
}

# npm prunes the headers of Node 24 when it is run again: their package is not in our lock file, `node` installs it.
build_addon() {
  ls node_modules/node/node_modules/node-linux-*/include/node/uv.h >/dev/null 2>&1 ||
    npm rebuild --loglevel=error node >/dev/null || die "npm could not install the headers of Node 24"
  npm run --silent build:native >&2 || die "the addon in native/ could not be built"
}

set_up() {
  need_node
  need_debian cc=gcc make=make ld=libc6-dev
  install_packages
  build_addon
}
