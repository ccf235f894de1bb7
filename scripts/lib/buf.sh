# Sourced: buf, the linter of the wire contract, from its npm package.
# shellcheck shell=bash

BUF_VERSION=1.75.0
BUF=$VIGIL_CACHE/npm/buf-$BUF_VERSION/node_modules/.bin/buf

install_buf() {
  [[ -x $BUF ]] && return
  say "fetching @bufbuild/buf $BUF_VERSION (npm)"
  npm install --no-save --no-audit --no-fund --silent --prefix "$VIGIL_CACHE/npm/buf-$BUF_VERSION" \
    "@bufbuild/buf@$BUF_VERSION" >&2 ||
    die "npm package @bufbuild/buf $BUF_VERSION could not be had" "is the npm registry reachable?"
}
