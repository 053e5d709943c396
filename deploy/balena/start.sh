#!/bin/sh
# The container's first process: waits for a site file, then becomes the gateway.
set -eu

config=${ZEV_GATEWAY_CONFIG:-/data/config/site.toml}
mkdir -p "$(dirname "$config")" "$STATE_DIRECTORY"
chmod 0700 "$STATE_DIRECTORY"

if [ ! -f "$config" ]; then
    cp config/site.example.toml "$(dirname "$config")/site.example.toml"
    echo "zev-gateway: there is no $config yet: fill in site.example.toml beside it and save it under that name" >&2
    while [ ! -f "$config" ]; do sleep 10; done
fi
exec zev-gateway run --config "$config"
