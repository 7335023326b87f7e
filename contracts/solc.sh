#!/bin/sh
# The compiler for tools that look for a "solc" binary: npm solc behind solc's own flags.
# SOLC_NODE names the node binary where it is not on the PATH.
here=$(dirname -- "$(readlink -f -- "$0")")
exec "${SOLC_NODE:-node}" "$here/solcshim.cjs" "$@"
