#!/bin/sh
# From nothing to a trained model that runs as ONNX: the commands of `make demo`, in the folder demo/.
set -eu
mkdir -p demo
cd demo

say() { printf '\n$ %s\n' "$*"; "$@"; }

say zoo train vae --epochs 60
say zoo export vae --onnx
say zoo run exports/vae/vae-fashion-mnist-small.decode.onnx -n 64 --seed 1 -o samples.png
say zoo run exports/vae/vae-fashion-mnist-small.decode.onnx -n 8 --seed 2 -o drawn/
say zoo run exports/vae/vae-fashion-mnist-small.reconstruct.onnx drawn/ -o redrawn/

run=$(zoo runs --json | python -c 'import json, sys; print(json.load(sys.stdin)[-1]["id"])')
reconstruction=$(ls runs/"$run"/samples/*-reconstruct.png | tail -n 1)
printf '\nLook at these pictures:\n'
printf '  sample grid          %s\n' "$PWD/samples.png"
printf '  reconstruction grid  %s\n' "$PWD/$reconstruction"
printf '  loss curve           %s\n' "$PWD/runs/$run/curves.png"
