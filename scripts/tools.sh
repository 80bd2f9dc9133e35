#!/usr/bin/env bash
# Installs what the tests need beside the packages in .venv, which must be there.  scripts/tools.sh
#
# Called by scripts/test.sh. What is there already takes no time. What cannot be installed is named, and its tests are
# skipped. Root is needed only for what is not unpacked into .venv.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

# The packages of Debian, one after another: only one process at a time may install.
of_debian() {
  # promtool tests the alert rules. On Debian and Ubuntu it is in the package of Prometheus, whose service must not start.
  # So unpack the package into the environment instead of installing it.
  fetch_promtool() {
    # The package lists may be missing, and only root can fetch them.
    timeout 120 apt-get download prometheus ||
      { timeout 120 apt-get update && timeout 120 apt-get download prometheus; } || return
    dpkg-deb --extract prometheus_*.deb .
  }
  if ! command -v promtool >/dev/null && [ ! -x .venv/tools/promtool ]; then
    scratch=$(mktemp -d)
    if (cd "$scratch" && fetch_promtool >log 2>&1); then
      install -D "$scratch/usr/bin/promtool" .venv/tools/promtool
    else
      echo "tools.sh: promtool is not installed and apt-get cannot fetch it, so the tests of the alert rules are skipped"
    fi
    rm -rf "$scratch"
  fi

  # Real proxies for exports. Unpacked for the same reason, with the libraries that haproxy needs.
  fetch_proxies() {
    set -- caddy nginx haproxy liblua5.3-0 libopentracing1 libopentracing-c-wrapper0
    timeout 180 apt-get download "$@" || { timeout 120 apt-get update && timeout 180 apt-get download "$@"; } || return
    for package in *.deb; do dpkg-deb --extract "$package" . || return; done
  }
  if ! { command -v caddy && command -v nginx && command -v haproxy; } >/dev/null && [ ! -x .venv/tools/caddy ]; then
    scratch=$(mktemp -d)
    if (cd "$scratch" && fetch_proxies >log 2>&1); then
      install -D -t .venv/tools "$scratch/usr/bin/caddy" "$scratch/usr/sbin/nginx" "$scratch/usr/sbin/haproxy"
      find "$scratch/usr/lib" -name "*.so.*" -exec install -D -t .venv/tools/lib {} +
    else
      echo "tools.sh: caddy, nginx and haproxy are not installed and apt-get cannot fetch them, so the tests of exports through them are skipped"
    fi
    rm -rf "$scratch"
  fi

  # A browser for the pages, and their build tools. Chromium has hundreds of libraries, so it is installed, which needs root.
  if ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null &&
      { timeout 300 apt-get install --yes chromium || { timeout 120 apt-get update && timeout 300 apt-get install --yes chromium; }; } >/dev/null 2>&1; then
      :
    else
      echo "tools.sh: Chromium is not installed and cannot be without root, so the tests of the pages are skipped"
    fi
  fi
  if ! command -v firefox-esr >/dev/null && ! command -v firefox >/dev/null; then
    if ! { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && timeout 300 apt-get install --yes firefox-esr >/dev/null 2>&1; }; then
      echo "tools.sh: Firefox is not installed and cannot be without root, so its test of the pages is skipped"
    fi
  fi
  if ! { command -v WebKitWebDriver && command -v Xvfb; } >/dev/null; then
    if ! { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null &&
      timeout 300 apt-get install --yes --no-install-recommends webkit2gtk-driver xvfb >/dev/null 2>&1; }; then
      echo "tools.sh: WebKit is not installed and cannot be without root, so its test of the pages is skipped"
    fi
  fi

  # Rails, for the endpoint in docs/embedding.md: 40 MB in 30 packages, so it is installed too, which needs root.
  if ! ruby -r active_support/all -r action_controller/railtie -r jwt -r webrick -e "" >/dev/null 2>&1; then
    rails() { timeout 300 apt-get install --yes --no-install-recommends ruby-railties ruby-jwt ruby-webrick; }
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && { rails || { timeout 120 apt-get update && rails; }; } >/dev/null 2>&1; then
      :
    else
      echo "tools.sh: Rails is not installed and cannot be without root, so its endpoint in docs/embedding.md is not tested"
    fi
  fi
  # wrk measures HTTP servers in `nealytics bench compare`.
  if ! command -v wrk >/dev/null; then
    if ! { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && timeout 300 apt-get install --yes wrk >/dev/null 2>&1; }; then
      echo "tools.sh: wrk is not installed and cannot be without root, so the comparison with other servers is not tested"
    fi
  fi
}

of_npm() {
  if command -v npm >/dev/null; then
    install_modules web ||
      echo "tools.sh: npm cannot install the build tools of the pages, so the tests of that build and of the npm package are skipped"
    install_modules tests/recipes || echo "tools.sh: npm cannot install Express, so its endpoint in docs/embedding.md is not tested"
    install_modules tests/compat/senders ||
      echo "tools.sh: npm cannot install the SDKs of Segment, RudderStack and PostHog for JavaScript, so these are not tested"
    # Other runtimes of the JavaScript client. Not in web/package.json: 200 MB that no build needs.
    for tool in deno@2.9.6 bun@1.4.5; do
      if ! command -v "${tool%@*}" >/dev/null && [ ! -x ".venv/tools/js/node_modules/.bin/${tool%@*}" ]; then
        timeout 300 npm install --prefix .venv/tools/js --no-audit --no-fund "$tool" >/dev/null 2>&1 ||
          echo "tools.sh: npm cannot install ${tool%@*}, so the JavaScript client is not tested in it"
      fi
    done
  else
    echo "tools.sh: Node.js is not installed, so the tests of the pages' build and of the npm package are skipped"
  fi
}

# The SDKs for Python, in an environment of their own.
of_python() {
  local senders=.venv/tools/senders
  if [ ! -f "$senders/.complete" ] || [ tests/compat/senders/requirements.txt -nt "$senders/.complete" ]; then
    { .venv/bin/python -m venv "$senders" &&
      timeout 300 "$senders/bin/python" -m pip install -q --disable-pip-version-check -r tests/compat/senders/requirements.txt &&
      touch "$senders/.complete"; } >/dev/null 2>&1 ||
      echo "tools.sh: pip cannot install the SDKs of Segment, RudderStack and PostHog for Python, so these are not tested"
  fi
}

of_debian &
debian=$!
of_npm &
npm=$!
of_python
wait $debian
wait $npm
