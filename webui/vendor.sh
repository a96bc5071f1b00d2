#!/bin/sh
# Copies the assets that package-lock.json pins into static/vendor, which is committed: neither building
# nor running the appliance needs npm. Run it after changing a version or icons.txt.
set -eu
cd "$(dirname "$0")"
npm ci --ignore-scripts --no-audit --no-fund
vendor=static/vendor
rm -rf "$vendor"

version() { node -p "require('./node_modules/$1/package.json').version"; }
copy() { # package, folder, files...
    from="node_modules/$1"; to="$vendor/$2-$(version "$1")"; shift 2
    mkdir -p "$to"
    for file in "$@"; do install -m 644 "$from/$file" "$to/"; done
}

copy htmx.org htmx dist/htmx.min.js LICENSE
copy @fontsource-variable/inter inter files/inter-latin-wght-normal.woff2 files/inter-latin-ext-wght-normal.woff2 LICENSE
copy @tabler/core tabler dist/css/tabler.min.css
# The package names its licence (MIT) but does not carry the text.
install -m 644 licenses/tabler-core.txt "$vendor/tabler-$(version @tabler/core)/LICENSE"
copy @tabler/icons icons LICENSE
copy @xterm/xterm xterm lib/xterm.mjs css/xterm.css LICENSE
# Modules that find each other by where they lie.
novnc=$vendor/novnc-$(version @novnc/novnc)
mkdir -p "$novnc/vendor"
cp -R node_modules/@novnc/novnc/core "$novnc/"
cp -R node_modules/@novnc/novnc/vendor/pako "$novnc/vendor/"
install -m 644 node_modules/@novnc/novnc/LICENSE.txt "$novnc/LICENSE"
copy uplot uplot dist/uPlot.iife.min.js dist/uPlot.min.css LICENSE
node sprite.mjs node_modules/@tabler/icons/icons icons.txt > static/icons.svg # a short name: a page has it a hundred times
# Source maps are not shipped, so nothing should ask for them.
sed -i '/^[/][*/]# sourceMappingURL=/d' "$vendor"/tabler-*/tabler.min.css "$vendor"/htmx-*/htmx.min.js "$vendor"/xterm-*/xterm.mjs
node shrink.mjs "$vendor"/tabler-*/tabler.min.css "$vendor"/inter-*/inter-latin-wght-normal.woff2
rm -rf node_modules
