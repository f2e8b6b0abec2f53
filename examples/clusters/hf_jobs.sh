#!/bin/bash
# A Hugging Face Job with four GPUs: images of a dataset repository in, a dataset on the Hub out. The image is built from
# the Dockerfile, and is in a registry that the Hub can read. What the job has built is lost if it ends before the push,
# so --timeout has to be long enough for all of it.
hf jobs run --detach --flavor l4x4 --timeout 12h --secrets HF_TOKEN --volume hf://datasets/user/photos:/photos \
    registry.example.com/datasetkit bash -c '
        datasetkit build folder /photos --preset grounded-sam --devices all --out /tmp/found &&
        datasetkit push /tmp/found user/found --private'
