"""Where the page is served: the sockets that listen, and the names that a browser may use."""

from __future__ import annotations

import errno
import ipaddress
import socket

from annotator3d.errors import ConfigError

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen at every address of `host`, all at one port.

    Args:
        port: 0 takes a free one.

    Raises:
        ConfigError: no such address or port, or one that is taken; it says which option to change.
    """
    if not host.strip():
        raise ConfigError(
            "--host: expected an address such as 127.0.0.1 (this machine only) or 0.0.0.0 (all its "
            "networks), got an empty one"
        )
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port: expected 0 (a free one) to 65535, got {port}")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"--host {host}: this machine knows no such address: {error}") from None
    opened: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            at = opened[0].getsockname()[1] if opened else port
            try:
                opened.append(_bound(family, kind, protocol, (address[0], at, *address[2:])))
            except OSError as error:
                if not opened or error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
    except OSError as error:
        for each in opened:
            each.close()
        raise ConfigError(_why(host, port, error)) from None
    return opened


def _bound(family: int, kind: int, protocol: int, address: tuple) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(128)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made


def _why(host: str, port: int, error: OSError) -> str:
    where = f"--host {host} --port {port}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"{where}: another program serves there; choose another with --port N, or --port 0 for "
            "a free one"
        )
    if error.errno == errno.EACCES:
        return f"{where}: ports below 1024 are for root; choose a higher one"
    return f"{where}: cannot serve there: {error.strerror or error}"


def is_local(host: str) -> bool:
    """Whether only this machine reaches the address."""
    return host in _LOOPBACK


def names_of(host: str) -> frozenset[str]:
    """The names, besides addresses in digits, under which a browser may ask for the page.

    A page of another name that was pointed at this machine (DNS rebinding) has none of them.
    """
    names = {"localhost", host.lower()}
    if not is_local(host):
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return frozenset(name.rstrip(".") for name in names if name)


def is_known(given: str, names: frozenset[str]) -> bool:
    """Whether the Host header of a request names this server, at whatever port.

    Any port, since an SSH tunnel has another one at its near end. An address in digits cannot be
    pointed elsewhere.
    """
    name, separator, port = given.lower().rpartition(":")
    if not separator or "]" in port:
        name, port = given.lower(), ""
    if port and not port.isdigit():
        return False
    if name.startswith("[") and name.endswith("]"):
        return _is_address(name[1:-1])
    return name.rstrip(".") in names or _is_address(name)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
