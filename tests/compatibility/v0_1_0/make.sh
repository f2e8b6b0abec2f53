#!/usr/bin/env bash
# What made the folders of v0_1_0, run in an empty folder with datasetkit 0.1.0 (commit 6cbce6c); the page of scores,
# which is large, is left out. The last build is killed, so where it stops differs from run to run.
set -e
dk() { datasetkit "$@" >/dev/null; }
dk build toyworld --preset none --size-px 128 --no-overlay --count 4 --splits train=.5,test=.5 --out scenes
dk build toyworld --preset toyworld --size-px 128 --no-overlay --count 2 --out found
dk score --model toyworld:vlm --data scenes --limit 2 --out scores
dk knockout --model toyworld:vlm --data scenes --split test --limit 1 --window 1 --flows "image->question,question->last" --out knockouts
dk ablate --model toyworld:vlm --data scenes --limit 1 --scores scores --by hi:response --modes zero --doses .05 --draws 2 --tasks vqa --out ablated
OMP_NUM_THREADS=1 dk sparsify --model toyworld:vlm --data scenes --limit 1 --scores scores --window 8 --draws 1 --tasks vqa --out sparse
dk compare --model toyworld:vlm --data scenes --test scenes --test-limit 1 --limit 4 --tasks vqa --scores scores --select top-layers:1 --select bottom-layers:1 --seeds 0 --steps 1 --batch 2 --rank 1 --targets q_proj --out comparison
dk build toyworld --preset none --size-px 64 --no-overlay --count 6 --part-size 1 --out whole
datasetkit build toyworld --preset none --size-px 64 --no-overlay --count 6 --part-size 1 --out cut-short >/dev/null 2>&1 &
pid=$!
while [ "$(ls cut-short/.build/ 2>/dev/null | grep -c json)" -lt 3 ]; do sleep 0.005; done
kill -9 $pid; wait $pid || true
