"""The IPv4 addresses of this machine: what a wallbox must be given."""

from __future__ import annotations

import fcntl
import socket
import struct
from urllib.parse import quote

SIOCGIFADDR = 0x8915
"""netdevice(7): the address of an interface."""

_IFREQ = struct.Struct("16s24x")


def local_addresses() -> list[str]:
    """Every IPv4 address but loopback, in the order of the interfaces."""
    found: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(channel.fileno(), SIOCGIFADDR, _IFREQ.pack(name.encode()[:15]))
            except OSError:  # an interface without an IPv4 address
                continue
            address = socket.inet_ntoa(answer[20:24])
            if not address.startswith("127.") and address not in found:
                found.append(address)
    return found


def charger_urls(listen: list[str], addresses: list[str]) -> list[str]:
    """`ws://0.0.0.0:9000/...` as it must be typed into a box: once for each address of this machine."""
    urls: list[str] = []
    for url in listen:
        anywhere = next((host for host in ("//0.0.0.0:", "//[::]:") if host in url), None)
        if anywhere is None:
            urls.append(url)
        else:
            urls += [url.replace(anywhere, f"//{address}:") for address in addresses or ["ADDRESS-OF-THIS-MACHINE"]]
    return urls


def url_of(url: str, charger: str) -> str:
    """The address of one charger: its id takes the place of CHARGER-ID, as it must be written in a URL (RFC 3986)."""
    return url.replace("CHARGER-ID", quote(charger, safe="*:=+@"))
