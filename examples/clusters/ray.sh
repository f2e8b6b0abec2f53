#!/bin/bash
# A Ray cluster of machines that mount the same folder, each with datasetkit[ray] of the same version. In that folder:
#     bash ray.sh head          on the first machine
#     bash ray.sh join HOST     on every other one; HOST is the first
#     bash ray.sh build         on any of them
# Once before: `ray get-auth-token --generate`, and ~/.ray/auth_token copied to every machine. Without a token, anybody
# who reaches the ports of the cluster can run code on it.
set -e
export RAY_AUTH_MODE=token
case "$1" in
head) ray start --head --port=6379 ;;
join) ray start --address="$2:6379" ;;
build)
    datasetkit build folder photos --preset grounded-sam --models models --part-size 500 \
        --engine ray --ray-address auto --workers 8 --out found
    ;;
esac
