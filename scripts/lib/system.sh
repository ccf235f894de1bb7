# The steps of scripts/setup that install what the operating system brings: Debian packages and Rust.
# shellcheck shell=bash

SYSTEM_PACKAGES=(
  # media: RTSP in, decode, record, serve
  libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libgstrtspserver-1.0-dev gstreamer1.0-tools
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
  gstreamer1.0-libav gstreamer1.0-rtsp
  # wire, index, build
  protobuf-compiler libprotobuf-dev libsqlite3-dev pkg-config gcc libc6-dev ca-certificates
  # networks of the tests
  iproute2
  # model tools
  python3 python3-venv
)
# The database server of the tests, which start and stop one of their own.
DATABASE_PACKAGES=(postgresql-15)
RUST_PACKAGES=(cargo-web rustc-web rust-web-clippy rustfmt-web)
PYTHON_MIN=3.11

missing_packages=()
apt_lists_fresh=

# find_missing PACKAGE...: fills missing_packages with those that are not installed.
find_missing() {
  local installed
  installed=$(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' 2>/dev/null | sed -n 's/^ii //p')
  mapfile -t missing_packages < <(printf '%s\n' "$@" | grep -vxF -f <(printf '%s\n' "$installed") || true)
}

apt_update() {
  if [[ -n $apt_lists_fresh ]]; then return; fi
  require_root "Debian's package lists must be read anew" "apt-get update"
  run_logged "reading Debian's package lists" as_root apt-get update -q ||
    die "Debian's package lists cannot be read" "check the network and /etc/apt/sources.list, then start scripts/setup again"
  apt_lists_fresh=yes
}

# apt_install PACKAGE...: installs those that are missing.
apt_install() {
  find_missing "$@"
  if ((${#missing_packages[@]} == 0)); then return; fi
  command -v apt-get >/dev/null ||
    die "these Debian packages are missing, and this system has no apt-get: ${missing_packages[*]}" \
      "Vigil is built on Debian 12; elsewhere install their equivalents by hand"
  require_root "Debian packages are missing" "apt-get install --no-install-recommends ${missing_packages[*]}"
  apt_update
  run_logged "installing ${#missing_packages[@]} Debian packages: ${missing_packages[*]}" \
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing_packages[@]}" ||
    die "a Debian package could not be installed: one of ${missing_packages[*]}" \
      "the lines above name it; Vigil needs Debian 12 with its main and security sections"
}

# A program that replaces its output by renaming, run as root with /dev/null for it, leaves an ordinary file there. What
# others throw away is then kept and read by the next: compilers that ask for an empty input get it and fail.
mend_null_device() {
  if [[ -c /dev/null ]]; then return; fi
  local repair="rm -f /dev/null && mknod -m 666 /dev/null c 1 3"
  require_root "/dev/null is not a device but an ordinary file" "$repair"
  doing "/dev/null is not a device but an ordinary file: making it anew"
  as_root sh -c "$repair" || die "/dev/null could not be made anew" "as root run: $repair"
}

# Debian's package makes a server of its own and starts it at every boot, which nobody here asked for: it is told not to,
# where the machine has none yet.
install_database() {
  local settings=/etc/postgresql-common/createcluster.conf
  if compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null; then return; fi
  find_missing postgresql-common
  if ((${#missing_packages[@]})); then
    apt_install postgresql-common
    as_root sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' "$settings"
  fi
  apt_install "${DATABASE_PACKAGES[@]}"
}

install_system_packages() {
  mend_null_device
  apt_install "${SYSTEM_PACKAGES[@]}"
  install_database
  local version
  version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  version_at_least "$version" "$PYTHON_MIN" || die "python3 is $version, the model tools need $PYTHON_MIN or newer"
}

# The compiler's version, as seen from the repository (a rustup shim follows rust-toolchain.toml there); empty without one.
rust_version() {
  (cd "$VIGIL_ROOT" && command -v cargo >/dev/null && rustc --version 2>>"$LOG" | cut -d ' ' -f 2) || true
}

install_rust() {
  local wanted found
  wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$VIGIL_ROOT/Cargo.toml")
  found=$(rust_version)
  if [[ -n $found ]] && version_at_least "$found" "$wanted"; then return; fi
  doing "Rust $wanted or newer is needed, found ${found:-none}: taking Debian's"
  apt_install "${RUST_PACKAGES[@]}"
  hash -r
  found=$(rust_version)
  if [[ -z $found ]] || ! version_at_least "$found" "$wanted"; then
    die "Rust $wanted or newer is needed, found ${found:-none} at $(command -v rustc || echo '(nowhere)')" \
      "Debian 12 has it in its security section: ${RUST_PACKAGES[*]}" \
      "or install it with rustup; if an older rustc comes first in PATH, remove it"
  fi
}
