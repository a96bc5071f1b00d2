"""nginx's configuration for the front door, written from the settings.

One server for the web page, one for the applications of all machines: it listens on the whole range
of ports from the start, so that no machine that comes or goes needs a reload. Where machines have names, another one takes those
on the page's port, whichever they are.

No Strict-Transport-Security: a browser that knows it offers no way past a certificate that the
appliance signed itself, and the header would bind every other port of the host, too.
"""

import argparse
import hashlib
import json
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from appliance import durable, language, tracing
from appliance.access import cookies, machine_names, pages, proxies, published, tls
from appliance.access.published import Published
from appliance.balance import haproxy
from appliance.errors import BadInput, DpeError, Unavailable
from appliance.run import Argument, run
from appliance.settings import REPOSITORY, Settings
from appliance.settings import load as load_settings

UPLOAD = "/admin/server/updates/upload"  # where updates of the appliance are sent to
DOOR_SOCKET = "door.sock"
COOKIES = 48_000  # characters of cookies that a browser may bring
USER = "www-data"  # Debian's own for web servers; it cannot read the catalog

# A directive is its words; one that has a block ends with a list of directives.
Directive = tuple[str | int | list["Directive"], ...]

TYPES = {
    "text/html": "html",
    "text/css": "css",
    "text/javascript": "js mjs",
    "text/plain": "txt",
    "application/json": "json map",
    "application/manifest+json": "webmanifest",
    "application/wasm": "wasm",
    "image/svg+xml": "svg",
    "image/png": "png",
    "image/jpeg": "jpg jpeg",
    "image/x-icon": "ico",
    "font/woff2": "woff2",
}

# What a page's script is told; JupyterLab, for one, shows the message.
SIGNED_OUT = (
    "You are signed out of the appliance. Open this machine in another tab and sign in there, then try again here: leave this page open, and nothing "
    "in it is lost."
)

PAGE_HEADERS: list[Directive] = [
    ("add_header", "Cache-Control", "no-store", "always"),
    ("add_header", "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'", "always"),
    ("add_header", "X-Content-Type-Options", "nosniff", "always"),
]


def render(directives: Iterable[Directive], indent: str = "") -> str:
    """The configuration's text, every word quoted where it must be."""
    lines = []
    for directive in directives:
        words = " ".join(_quote(str(word)) for word in directive if not isinstance(word, list))
        block = directive[-1]
        if isinstance(block, list):
            lines.append(f"{indent}{words} {{\n{render(block, indent + '    ')}{indent}}}\n")
        else:
            lines.append(f"{indent}{words};\n")
    return "".join(lines)


def _quote(word: str) -> str:
    if word and not re.search(r"""[\s;{}"'#\\]""", word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _plain(name: str, value: str) -> str:
    """A value from outside, as it is; nginx has no way to quote a dollar sign, so it must be harmless."""
    if not re.fullmatch(r"[\w./:@+=,~-]+", value, re.ASCII):
        raise BadInput(f"The setting {name} cannot be {value!r}: nginx could not be given it.", "Use letters, digits and . / - _ only.")
    return value


def version() -> tuple[int, ...]:
    """The version of the installed nginx. Raises CommandFailed, or Unavailable when it does not say one."""
    said = run(["sh", "-c", "exec nginx -v 2>&1"])  # it answers on the error stream
    found = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", said)
    if found is None:
        raise Unavailable("nginx does not say which version it is.", "Install nginx again.")
    return tuple(map(int, found.groups()))


def socket_path(settings: Settings) -> Path:
    """Where the web process listens."""
    return settings.run / "web.sock"


def door_path(settings: Settings) -> Path:
    """Where the web process answers the question whether somebody may through to an application, and nothing else."""
    return settings.run / DOOR_SOCKET


def rescue_path(settings: Settings) -> Path:
    """Where the rescue page listens."""
    return settings.run / "rescue.sock"


def relay_path(settings: Settings) -> Path:
    """Where the relay to the machines listens."""
    return settings.run / "relay.sock"


def console_path(settings: Settings) -> Path:
    """Where the process for screens and serial lines listens."""
    return settings.run / "console.sock"


def _file(settings: Settings) -> Path:
    return settings.run / "nginx/nginx.conf"


def _pages_folder(settings: Settings) -> Path:
    return settings.run / "nginx/pages"


def command(settings: Settings) -> list[Argument]:
    """How nginx is started; it stays in the foreground, and reads its configuration again at SIGHUP."""
    return ["nginx", "-c", _file(settings), "-e", "stderr"]


def write_configuration(settings: Settings, checkout: Path) -> Path:
    """Write the configuration where nginx is told to find it, and return that file; the certificate is made if need be."""
    file = _file(settings)
    file.parent.mkdir(mode=0o711, exist_ok=True)
    pages.write(_pages_folder(settings))
    durable.write(file, _text(settings, checkout), mode=0o644)
    return file


def changed(settings: Settings, checkout: Path) -> bool:
    """Whether configuration or certificate would be others than those that were written last; the certificate is renewed if need be.
    A reload ends idle connections and leaves workers behind, so it is for this alone."""
    try:
        return _file(settings).read_text() != _text(settings, checkout)
    except FileNotFoundError:
        return True


def _text(settings: Settings, checkout: Path) -> str:
    certificate, key = tls.ensure(settings)
    served = hashlib.sha256(certificate.read_bytes()).hexdigest()  # with its chain; another key has another certificate
    return f"# The certificate's digest is {served}.\n{configuration(settings, checkout, certificate, key, version())}"


def _access_log() -> Directive:
    """Whoever started nginx keeps its log, and keeps it small."""
    if stat.S_ISSOCK(os.fstat(2).st_mode):  # systemd's journal, which cannot be opened by a name
        return ("access_log", "syslog:server=unix:/run/systemd/journal/dev-log,nohostname,tag=nginx", "door")
    return ("access_log", "/dev/stderr", "door", "buffer=64k", "flush=5s")


def configuration(settings: Settings, checkout: Path, certificate: Path, key: Path, version: tuple[int, ...]) -> str:
    """The whole nginx.conf; `checkout` is the checkout as the nginx workers see it. Raises BadInput for a setting nginx cannot have."""
    _plain("state", str(settings.state))
    address = _plain("listen", settings.listen)
    address = f"[{address}]" if ":" in address else address
    work = settings.run / "nginx"
    modern = version >= (1, 25, 1)  # before, HTTP/2 was a word of listen

    def listen(*ports: str) -> list[Directive]:
        if modern:
            return [*(("listen", f"{address}:{one}", "ssl") for one in ports), ("http2", "on")]
        return [("listen", f"{address}:{one}", "ssl", "http2") for one in ports]

    temporary: list[Directive] = [(f"{what}_temp_path", str(work / what)) for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")]
    http: list[Directive] = [
        ("types", [(kind, *endings.split()) for kind, endings in TYPES.items()]),
        ("default_type", "application/octet-stream"),
        *temporary,
        # No query: it may hold an application's token.
        ("log_format", "door", "$remote_addr $time_iso8601 $server_port $request_method $uri $status $body_bytes_sent $request_time $request_id"),
        _access_log(),
        *_told_by(proxies.trusted(settings)),
        ("server_tokens", "off"),
        ("sendfile", "on"),
        ("tcp_nopush", "on"),
        ("keepalive_timeout", "75s"),
        ("keepalive_requests", 100000),
        ("client_header_timeout", "15s"),
        # All cookies that a browser keeps for a host come in, so that something can be done about them; see _flooded.
        ("large_client_header_buffers", 16, "64k"),
        ("ssl_certificate", str(certificate)),
        ("ssl_certificate_key", str(key)),
        ("ssl_protocols", "TLSv1.2", "TLSv1.3"),
        ("ssl_ciphers", "ECDHE+AESGCM:ECDHE+CHACHA20"),
        ("ssl_prefer_server_ciphers", "off"),
        ("ssl_session_cache", "shared:door:10m"),
        ("ssl_session_timeout", "1h"),
        ("ssl_session_tickets", "on"),
        ("gzip", "on"),
        ("gzip_vary", "on"),
        ("gzip_proxied", "any"),
        ("gzip_min_length", 1000),
        ("gzip_comp_level", 4),
        ("gzip_types", *(kind for kind in TYPES if kind.startswith(("text/c", "text/j", "text/p", "application/", "image/svg")))),
        ("proxy_http_version", "1.1"),
        ("proxy_redirect", "off"),
        ("proxy_buffer_size", "32k"),
        ("proxy_buffers", 8, "32k"),
        # Nobody behind the door tells nginx what to do.
        ("proxy_ignore_headers", "X-Accel-Redirect", "X-Accel-Expires", "X-Accel-Limit-Rate", "X-Accel-Charset"),
        ("upstream", "web", [("server", f"unix:{socket_path(settings)}", "max_fails=0"), ("keepalive", 64), ("keepalive_timeout", "20s")]),
        ("upstream", "door", [("server", f"unix:{door_path(settings)}", "max_fails=0"), ("keepalive", 64), ("keepalive_timeout", "20s")]),
        ("upstream", "rescue", [("server", f"unix:{rescue_path(settings)}", "max_fails=0")]),
        ("upstream", "relay", [("server", f"unix:{relay_path(settings)}", "max_fails=0")]),
        ("upstream", "console", [("server", f"unix:{console_path(settings)}", "max_fails=0")]),
        _own_cookie("page_cookie", cookies.SESSION),
        _own_cookie("rescue_cookie", cookies.RESCUE),
        _own_cookie("door_cookie", cookies.DOOR),
        _flooded(),
        _navigates(),
        *_asked_language(),
        ("map", "$http_upgrade", "$connection_upgrade", [("default", "upgrade"), ("", "")]),
        _foreign(),
        ("map", "$uri?$args", "$static_cache", [
            ("~^/static/vendor/", "public, max-age=31536000, immutable"),
            ("~[?&]v=", "public, max-age=31536000, immutable"),
            ("default", "no-cache"),
        ]),
        _page_server(settings, checkout, listen(str(settings.https_port))),
        *_service_servers(settings, listen(str(settings.https_port))),
        *_name_servers(settings, listen(str(settings.https_port))),
        _port_server(settings, listen(*(f"{ports.start}-{ports.stop - 1}" for ports in settings.doors if ports))),
    ]  # fmt: skip
    return render([
        ("daemon", "off"),
        ("user", USER, USER),
        ("pid", str(work / "nginx.pid")),
        ("error_log", "stderr", "notice"),
        ("worker_processes", min(4, os.cpu_count() or 1)),
        ("worker_rlimit_nofile", 65536),
        # Kernels and downloads go on in the workers of the configuration before; when a right ends, the relay ends them there, too.
        ("worker_shutdown_timeout", "24h"),
        ("events", [("worker_connections", 16384)]),
        ("http", http),
    ])  # fmt: skip


def _told_by(trusted: list[str]) -> list[Directive]:
    """Whose X-Forwarded-For is believed: read from its end, up to the first address that is no proxy of ours."""
    if not trusted:
        return []
    return [*(("set_real_ip_from", one) for one in trusted), ("real_ip_header", "X-Forwarded-For"), ("real_ip_recursive", "on")]


def _foreign() -> Directive:
    """Whether a page of another origin makes this request behind the person's back.

    All doors are ports of one host, so cookies go along and SameSite is no help: a machine's page
    could call the appliance, or another machine, in the name of whoever looks at it.
    """
    return ("map", "$http_sec_fetch_site|$http_sec_fetch_mode|$http_origin|$http_host", "$foreign", [
        (r"~^(same-origin|none)\|", 0),
        (r"~^[^|]+\|navigate\|", 0),
        (r"~^[^|]+\|", 1),
        # Clients that send no Sec-Fetch headers: programs, and browsers that open a WebSocket.
        (r"~^\|[^|]*\|\|", 0),
        (r"~^\|[^|]*\|https://([^|]+)\|\1$", 0),
        ("default", 1),
    ])  # fmt: skip


def _own_cookie(variable: str, name: str) -> Directive:
    """The one cookie of this name that a browser sent, and no other: nothing that machines set reaches the pages of the appliance.

    Two of a name, which a browser keeps by itself only for different paths, are none: one of them was put there.
    """
    found = rf"(?:^|;\s*){name}=[^;]*"
    return ("map", "$http_cookie", f"${variable}", [
        (rf"~{found};(?:.*;)?\s*{name}=", ""),
        (rf"~(?:^|;\s*)(?<{variable}_pair>{name}=[^;]*)", f"${variable}_pair"),
        ("default", ""),
    ])  # fmt: skip


def _flooded() -> Directive:
    """Whether a browser brings more cookies than the applications could have meant; a WebSocket has to bring them in one line of 64 KiB."""
    return ("map", "$http_cookie", "$flooded", [(f"~^.{{{COOKIES}}}", 1), ("default", 0)])


def _refuse() -> list[Directive]:
    return [("if", "($foreign)", [("return", 403)]), ("if", "($flooded)", [("return", 431)])]


def _navigates() -> Directive:
    """Whether somebody sees the answer as a page; what a page's script asks for cannot follow to the page where one signs in."""
    return ("map", "$request_method|$http_sec_fetch_mode|$http_accept", "$navigates", [
        (r"~^(GET|HEAD)\|(navigate\||\|.*text/html)", "page"),
        (r"~^[^|]*\|(navigate\||\|.*text/html)", "form"),
        ("default", ""),
    ])  # fmt: skip


def _asked_language() -> list[Directive]:
    """The language of what nginx says by itself, and what it says to programs in that."""
    others = [one for one in language.LANGUAGES if one != language.SOURCE]
    said = {one: json.dumps({"message": language.catalog(one).text(SIGNED_OUT)}) for one in language.LANGUAGES}
    return [
        ("map", "$http_accept_language", "$language", [*((f"~*{pages.asked_for(one)}", one) for one in others), ("default", language.SOURCE)]),
        ("map", "$language", "$signed_out", [*((one, said[one]) for one in others), ("default", said[language.SOURCE])]),
    ]  # fmt: skip


def _too_much() -> list[Directive]:
    """What nginx itself says of requests that it cannot take, in words of ours."""
    return [
        ("error_page", 400, "/_dpe/pages/unreadable.html"),
        ("error_page", 414, "/_dpe/pages/long.html"),
        ("error_page", 431, 494, "=431", "/_dpe/pages/cookies.html"),
    ]


def _forwarded() -> list[Directive]:
    return [
        ("proxy_set_header", "Host", "$http_host"),
        ("proxy_set_header", "X-Forwarded-For", "$remote_addr"),
        ("proxy_set_header", "X-Forwarded-Proto", "https"),
        ("proxy_set_header", "X-Forwarded-Host", "$http_host"),
        ("proxy_set_header", "Forwarded", ""),
    ]


REQUEST_ID: Directive = ("proxy_set_header", tracing.HEADER, "$request_id")


def _way() -> list[Directive]:
    """By which way somebody came, for the page where proxies are named; it is only shown there."""
    return [
        ("proxy_set_header", "X-DPE-Via", "$realip_remote_addr"),
        ("proxy_set_header", "X-DPE-Claim", "$http_x_forwarded_for"),
    ]


def _pages(settings: Settings) -> list[Directive]:
    folder = f"{_pages_folder(settings)}/$language/"
    # Whoever comes to this one is locked out by cookies whose names nobody could read: all have to go.
    clear: Directive = ("add_header", "Clear-Site-Data", '"cookies"', "always")
    return [
        ("location", "/_dpe/pages/", [("internal",), ("alias", folder), *PAGE_HEADERS]),
        ("location", "=", "/_dpe/pages/cookies.html", [("internal",), ("alias", f"{folder}cookies.html"), *PAGE_HEADERS, clear]),
    ]


def _page_server(settings: Settings, checkout: Path, listen: list[Directive]) -> Directive:
    to_web: list[Directive] = [
        ("proxy_pass", "http://web"), *_forwarded(), ("proxy_set_header", "Connection", ""), ("proxy_set_header", "Cookie", "$page_cookie"),
        REQUEST_ID,
    ]  # fmt: skip
    refuse = _refuse()
    return ("server", [
        *listen,
        ("client_max_body_size", "32m"),
        ("error_page", 497, "=302", "https://$http_host$request_uri"),
        ("error_page", 502, 503, 504, "/_dpe/pages/down.html"),
        *_too_much(),
        ("location", "/", [*refuse, *to_web, *_way()]),
        ("location", "/live", [*refuse, *to_web, ("proxy_buffering", "off"), ("proxy_read_timeout", "1h"), ("gzip", "off")]),
        ("location", "/door/", [("return", 404)]),
        *_consoles(refuse),
        ("location", "=", "/_dpe/portal", [("return", 302, "/")]),
        # The way in when the web process does not come; it has no part in this.
        ("location", "=", "/rescue", [("return", 302, "/rescue/")]),
        ("location", "/rescue/", [
            *refuse,
            ("proxy_pass", "http://rescue"),
            *_forwarded(),
            ("proxy_set_header", "Connection", ""),
            ("proxy_set_header", "Cookie", "$rescue_cookie"),
            ("proxy_connect_timeout", "5s"),
            ("proxy_read_timeout", "90s"),
        ]),
        # Hundreds of megabytes, which the web process writes to their place as they come.
        ("location", "=", UPLOAD, [
            *refuse, *to_web, ("client_max_body_size", 0), ("client_body_timeout", "5m"), ("proxy_request_buffering", "off"), ("proxy_read_timeout", "10m"),
        ]),
        ("location", "/static/", [
            ("alias", f"{checkout}/webui/static/"),
            ("gzip_comp_level", 9),  # a browser asks for a file once
            ("add_header", "Cache-Control", "$static_cache"),
            ("add_header", "X-Content-Type-Options", "nosniff"),
            ("add_header", "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
            ("access_log", "off"),
        ]),
        *_pages(settings),
    ])  # fmt: skip


def _asks(cookie: str = "$page_cookie") -> list[Directive]:
    """A question to the web process about a request: of all that came it needs who asks, and what for."""
    return [
        ("internal",),
        ("proxy_pass_request_headers", "off"),
        *_forwarded(),
        ("proxy_set_header", "Cookie", cookie),
        ("proxy_set_header", "Connection", ""),
        ("proxy_pass_request_body", "off"),
        ("proxy_set_header", "Content-Length", ""),
        ("proxy_set_header", "Transfer-Encoding", ""),
        ("proxy_set_header", "Upgrade", ""),
        ("proxy_set_header", "X-DPE-Uri", "$request_uri"),
        REQUEST_ID,
    ]


def _held_open() -> list[Directive]:
    """A way to a machine that may become a WebSocket, and stays open while nothing is said on it."""
    return [
        ("proxy_set_header", "Upgrade", "$http_upgrade"),
        ("proxy_set_header", "Connection", "$connection_upgrade"),
        ("proxy_connect_timeout", "5s"),
        ("proxy_read_timeout", "1h"),
        ("proxy_send_timeout", "1h"),
        ("proxy_buffering", "off"),
    ]


def _consoles(refuse: list[Directive]) -> list[Directive]:
    """Screens, serial lines and ports of machines, as WebSockets: /ws/MACHINE/TARGET?ticket=, which the web process knows about."""
    to_console: list[Directive] = [
        *refuse,
        ("proxy_pass", "http://console"),
        *_forwarded(),
        ("proxy_set_header", "Cookie", ""),
        ("proxy_set_header", "Authorization", ""),
    ]
    return [
        ("location", "/ws/", [
            *to_console,
            ("auth_request", "/_dpe/console"),
            ("auth_request_set", "$console_ticket", "$upstream_http_x_dpe_ticket"),
            ("proxy_set_header", "X-DPE-Ticket", "$console_ticket"),
            *_held_open(),
        ]),
        ("location", "=", "/ws/ping", [*to_console, ("proxy_set_header", "X-DPE-Ticket", ""), ("access_log", "off")]),
        ("location", "=", "/_dpe/console", [
            ("proxy_pass", "http://door/door/console"), *_asks(), ("proxy_set_header", "X-DPE-Origin", "$http_origin"),
            ("proxy_set_header", "Authorization", "$http_authorization"),  # of a program, in place of a session
        ]),
    ]  # fmt: skip


def _service_servers(settings: Settings, listen: list[Directive]) -> list[Directive]:
    """Services under names of their own, on the port of the page: who asks for any other name gets the page, which comes first."""
    hosts: dict[str, list[Published]] = {}
    for one in published.published(settings):
        hosts.setdefault(one.host, []).append(one)
    nothing: Directive = ("location", "/", [("return", 404)])
    return [
        ("server", [
            *listen,
            ("server_name", host),
            *(() if any(one.path.strip("/") == "" for one in found) else (nothing,)),
            ("client_max_body_size", "32m"),
            ("error_page", 497, "=302", "https://$http_host$request_uri"),
            ("error_page", 502, 503, 504, "/_dpe/pages/service.html"),
            *_too_much(),
            *(directive for one in found for directive in _service(settings, one)),
            *_pages(settings),
        ])
        for host, found in sorted(hosts.items())
    ]  # fmt: skip


def _service(settings: Settings, service: Published) -> Iterator[Directive]:
    """The path itself and what is below it: /app has nothing of /apple. Prefixes that end any search."""
    path = service.path.rstrip("/")
    to_service: list[Directive] = [
        ("proxy_pass", f"http://unix:{haproxy.door(settings, service.service)}"),
        *_forwarded(),
        REQUEST_ID,
        *_held_open(),
        ("proxy_request_buffering", "off"),
    ]
    if path:
        yield ("location", "=", path, to_service)
    yield ("location", "^~", f"{path}/", to_service)


def _port_server(settings: Settings, listen: list[Directive]) -> Directive:
    """Machines by ports."""
    asks: list[Directive] = [
        *_asks(),
        ("proxy_set_header", "X-DPE-Port", "$server_port"),
        ("proxy_set_header", "X-DPE-Navigates", "$navigates"),
    ]
    return _application_server(settings, listen, asks, [
        ("location", "=", "/_dpe/portal", [("return", 302, f"https://$host:{settings.https_port}/")]),
    ])  # fmt: skip


def _name_servers(settings: Settings, listen: list[Directive]) -> list[Directive]:
    """Machines by names on the page's port, where an admin wants that. Only the cookie of the one name is told to whoever decides."""
    if not (domain := machine_names.served(settings)):
        return []
    named: Directive = ("server_name", rf"~^(?<machine_name>{machine_names.NAME})\.{re.escape(domain)}$")
    name: Directive = ("proxy_set_header", "X-DPE-Name", "$machine_name")

    def answers(path: str) -> list[Directive]:
        return [
            *_refuse(),
            ("proxy_pass", f"http://door{path}"),
            ("proxy_pass_request_headers", "off"),
            ("proxy_pass_request_body", "off"),
            *_forwarded(),
            ("proxy_set_header", "Connection", ""),
            name,
            REQUEST_ID,
        ]

    return [_application_server(settings, [*listen, named], [*_asks("$door_cookie"), name], [
        ("location", "=", "/_dpe/portal", answers("/door/portal")),
        ("location", "=", "/_dpe/enter", answers("/door/enter")),
    ])]  # fmt: skip


def _application_server(settings: Settings, listen: list[Directive], asks: list[Directive], further: list[Directive]) -> Directive:
    """Machines, by ports or by names: `asks` is the question whether somebody may through, `further` are the locations that differ."""
    return ("server", [
        *listen,
        ("client_max_body_size", 0),
        ("error_page", 497, "=302", "https://$http_host$request_uri"),
        ("error_page", 401, "=", "@sign_in"),
        ("error_page", 403, "/_dpe/pages/$machine_page.html"),
        ("error_page", 500, "/_dpe/pages/down.html"),
        *_too_much(),
        ("error_page", 502, 504, "/_dpe/pages/unreachable.html"),
        ("set", "$machine_page", "foreign"),
        ("location", "/", [
            *_refuse(),
            ("auth_request", "/_dpe/door"),
            ("recursive_error_pages", "on"),  # @sign_in has one of its own
            ("auth_request_set", "$machine_page", "$upstream_http_x_dpe_page"),
            ("auth_request_set", "$machine_sign_in", "$upstream_http_x_dpe_location"),
            ("auth_request_set", "$machine", "$upstream_http_x_dpe_upstream"),
            ("auth_request_set", "$machine_ticket", "$upstream_http_x_dpe_ticket"),
            ("auth_request_set", "$machine_clear", "$upstream_http_x_dpe_clear"),
            ("proxy_pass", "http://relay"),
            *_forwarded(),
            ("proxy_set_header", "X-DPE-Target", "$machine"),
            ("proxy_set_header", "X-DPE-Ticket", "$machine_ticket"),
            ("proxy_set_header", "Cookie", "$http_cookie"),
            *_held_open(),
            ("proxy_request_buffering", "off"),
            # A browser refuses a `__Host-` or `__Secure-` cookie that lacks Secure: no machine can set one of ours.
            ("proxy_cookie_flags", "~__(host|secure)-", "nosecure"),
            ("add_header", "Clear-Site-Data", "$machine_clear", "always"),
            # These would bind the whole host, the appliance's page and the other machines included.
            ("proxy_hide_header", "Strict-Transport-Security"),
            ("proxy_hide_header", "Clear-Site-Data"),
            ("proxy_hide_header", "Alt-Svc"),
        ]),
        ("location", "=", "/_dpe/door", [("proxy_pass", "http://door/door/check"), *asks]),
        ("location", "@sign_in", [
            ("if", "($navigates", "=", "page)", [("return", 302, "$machine_sign_in")]),
            ("error_page", 401, "/_dpe/pages/signed-out.html"),
            ("if", "($navigates", "=", "form)", [("return", 401)]),
            ("default_type", "application/json"),
            ("add_header", "Cache-Control", "no-store", "always"),
            ("return", 401, "$signed_out"),
        ]),
        *further,
        *_pages(settings),
    ])  # fmt: skip


def main() -> None:
    """`python -m appliance.access.nginx`: write the configuration for an nginx that sees the product where it lies, before systemd starts
    or reloads it. With `--changed` only say, by status 0, that it or the certificate is another; 1 is that all is as it was."""
    parser = argparse.ArgumentParser(prog="python -m appliance.access.nginx")
    parser.add_argument("--changed", action="store_true", help="ask whether a reload would change anything")
    asked = parser.parse_args()
    try:
        settings = load_settings()
        if asked.changed:
            sys.exit(0 if changed(settings, REPOSITORY) else 1)
        write_configuration(settings, REPOSITORY)
    except DpeError as error:
        print(f"nginx: {error}", file=sys.stderr)
        sys.exit(255 if asked.changed else 1)  # which systemd takes for a failure, not for a no


if __name__ == "__main__":
    main()
