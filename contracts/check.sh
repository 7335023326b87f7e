#!/bin/sh
# What the contracts must pass: the linter, the fuzzer, the analyser, the prover. Quiet unless something fails.
# Expects node, forge, slither and halmos's python on the PATH; `make contracts-check` sees to that.
set -eu
cd "$(dirname -- "$0")"
build=../build
mkdir -p "$build"

# step NAME COMMAND...: runs it; its words are shown where it fails.
step() {
  name=$1
  shift
  "$@" >"$build/$name.log" 2>&1 || {
    echo "contracts: $name failed" >&2
    cat "$build/$name.log" >&2
    return 1
  }
}

# Slither reads every build that lies in its folder: there is one.
analyse() {
  rm -rf "$build/slither"
  FOUNDRY_PROFILE=slither forge build --force
  slither . --ignore-compile --foundry-out-directory "$build/slither/out"
}

prove() {
  python prove.py --root . --forge-build-out "$build/forge/out" --no-status \
    --function check_ --loop 9 --solver-timeout-assertion 300000 || return 1
  # A check whose loops are longer than the bound has not been proved.
  ! grep -i "not been fully explored" "$build/prove.log"
}

step lint solhint --noPoster --disc --max-warnings 0 '*.sol' 'interfaces/*.sol' 'libraries/*.sol'
step analyse analyse &
analysis=$!
{ step build forge build && step fuzz forge test && step prove prove; } || failed=1
wait "$analysis" || failed=1
exit "${failed:-0}"
