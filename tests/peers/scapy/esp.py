"""ESP tunnel mode by scapy, as an oracle for tests.

Reads one JSON object a line and answers each with one, in order; ends with its input.

    {"op": "seal", "sa": SA, "seq": 1, "inner": HEX}    -> {"outer": HEX}
    {"op": "open", "sa": SA, "seq_high": 0, "outer": HEX}
        -> {"inner": HEX, "seq": 1, "next_header": 4, "pad": HEX, "iv": HEX, "ttl": 64, "ds": 0}
    anything that fails                                 -> {"error": TEXT}

    SA = {"suite": "aes128gcm16", "enc": HEX, "auth": HEX, "spi": 4096, "esn": false,
          "src": "192.0.2.1", "dst": "192.0.2.2", "udp": [4500, 4500] or null}

`inner` and `outer` are whole IP packets. `enc` ends with the salt where the suite has one; `auth` is
empty where the cipher authenticates by itself. `seq` has 64 bits; `seq_high` is the half of it that
is not sent. `ds` is the outer DSCP and ECN octet. `open` checks everything: the outer IPv4 and UDP
checksums, addresses, ports, SPI, ICV, padding and next header.

`python esp.py --self-test` opens what it seals, and refuses what it then spoils.
"""

import itertools
import json
import os
import sys

from scapy.config import conf
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.packet import Raw
from scapy.utils import checksum

ESP_PROTO, UDP_PROTO = 50, 17

# scapy's names of the encryption transforms by keyword, and the octets of their keys.
CIPHERS = {"null": ("NULL", 0), "3des": ("3DES", 24), "chacha20poly1305": ("CHACHA20-POLY1305", 32 + 4)}
for octets in (16, 24, 32):
    aes = f"aes{octets * 8}"
    CIPHERS[aes] = ("AES-CBC", octets)
    CIPHERS[f"{aes}ctr"] = ("AES-CTR", octets + 4)
    CIPHERS[f"{aes}gcm16"] = ("AES-GCM", octets + 4)
    CIPHERS[f"{aes}ccm16"] = ("AES-CCM", octets + 3)
    CIPHERS[f"{aes}gmac"] = ("AES-NULL-GMAC", octets + 4)

# The same of the integrity transforms; those that authenticate by themselves have none.
MACS = {
    None: (None, 0),
    "md5": ("HMAC-MD5-96", 16),
    "sha1": ("HMAC-SHA1-96", 20),
    "aescmac": ("AES-CMAC-96", 16),
    "sha256": ("SHA2-256-128", 32),
    "sha384": ("SHA2-384-192", 48),
    "sha512": ("SHA2-512-256", 64),
}


def transforms(suite):
    """scapy's name of the cipher, of the integrity algorithm, and the octets of each one's key."""
    cipher, _, mac = suite.partition("-")
    (cipher, enc_len), (mac, auth_len) = CIPHERS[cipher], MACS[mac or None]
    return cipher, mac, enc_len, auth_len


class Refused(Exception):
    """The packet is not what the SA says it must be."""


def require(truth, reason):
    if not truth:
        raise Refused(reason)


def ip_class(address_or_packet):
    if isinstance(address_or_packet, str):
        return IPv6 if ":" in address_or_packet else IP
    require(len(address_or_packet) > 0, "empty packet")
    version = address_or_packet[0] >> 4
    require(version in (4, 6), f"IP version {version}")
    return IP if version == 4 else IPv6


def association(sa, seq_low=1):
    cipher, integrity, enc_len, auth_len = transforms(sa["suite"])
    enc, auth = bytes.fromhex(sa["enc"]), bytes.fromhex(sa["auth"])
    require(len(enc) == enc_len, f"encryption key of {len(enc)} octets")
    require(len(auth) == auth_len, f"integrity key of {len(auth)} octets")
    return SecurityAssociation(
        ESP,
        spi=sa["spi"],
        seq_num=seq_low,
        crypt_algo=cipher,
        crypt_key=enc,
        auth_algo=integrity,
        auth_key=auth or None,
        tunnel_header=ip_class(sa["src"])(src=sa["src"], dst=sa["dst"]),
        nat_t_header=UDP(sport=sa["udp"][0], dport=sa["udp"][1]) if sa["udp"] else None,
        esn_en=sa["esn"],
    )


def seal(sa, seq, inner):
    inner = bytes.fromhex(inner)
    # The number is the association's own, for encrypt() takes a number of 0 for none.
    by = association(sa, seq & 0xFFFFFFFF)
    outer = by.encrypt(ip_class(inner)(inner), esn_en=sa["esn"], esn=seq >> 32)
    if sa["udp"] and isinstance(outer, IPv6):
        # scapy leaves the checksum 0, which IPv6 does not allow.
        del outer[UDP].chksum
    return {"outer": bytes(outer).hex()}


def esp_of(sa, outer):
    """The outer header, checked, and the octets from SPI to ICV."""
    ip = ip_class(outer)(outer)
    require(type(ip) is ip_class(sa["dst"]), "outer family")
    require(ip.src == sa["src"] and ip.dst == sa["dst"], f"outer addresses {ip.src} to {ip.dst}")
    if isinstance(ip, IP):
        header = ip.ihl * 4
        require(checksum(outer[:header]) == 0, "outer IPv4 checksum")
        require(ip.flags.MF == 0 and ip.frag == 0, "outer fragment")
        proto, length = ip.proto, ip.len
    else:
        header, proto, length = 40, ip.nh, ip.plen + 40
    require(length == len(outer), f"outer length {length} of {len(outer)}")
    body = outer[header:]
    if not sa["udp"]:
        require(proto == ESP_PROTO, f"outer protocol {proto}")
        return ip, body
    require(proto == UDP_PROTO, f"outer protocol {proto}")
    udp = UDP(body)
    require([udp.sport, udp.dport] == sa["udp"], f"UDP ports {udp.sport} to {udp.dport}")
    require(udp.len == len(body), f"UDP length {udp.len} of {len(body)}")
    if isinstance(ip, IPv6):
        require(udp.chksum != 0, "UDP checksum 0 over IPv6")
    if udp.chksum != 0:
        again = ip.copy()
        del again[UDP].chksum
        require(type(ip)(bytes(again))[UDP].chksum == udp.chksum, "UDP checksum")
    return ip, body[8:]


def open_(sa, seq_high, outer):
    ip, body = esp_of(sa, bytes.fromhex(outer))
    require(len(body) >= 8, "no ESP header")
    esp = ESP(body)
    require(esp.spi == sa["spi"], f"SPI {esp.spi:#x}")
    # SecurityAssociation.decrypt would throw padding and trailer away, so its two steps are here.
    by = association(sa)
    by.auth_algo.verify(esp, by.auth_key, esn_en=sa["esn"], esn=seq_high)
    icv = by.crypt_algo.icv_size or by.auth_algo.icv_size
    plain = by.crypt_algo.decrypt(by, esp, by.crypt_key, icv, esn_en=sa["esn"], esn=seq_high)
    require(plain.padding == bytes(range(1, plain.padlen + 1)), f"padding {plain.padding.hex()}")
    inner = bytes(plain.data)
    expected = 4 if ip_class(inner) is IP else 41
    require(plain.nh == expected, f"next header {plain.nh} before IP version {inner[0] >> 4}")
    return {
        "inner": inner.hex(),
        "seq": seq_high << 32 | esp.seq,
        "next_header": plain.nh,
        "pad": plain.padding.hex(),
        "iv": plain.iv.hex(),
        "ttl": ip.ttl if isinstance(ip, IP) else ip.hlim,
        "ds": ip.tos if isinstance(ip, IP) else ip.tc,
    }


OPERATIONS = {"seal": seal, "open": open_}


def answer(request):
    try:
        return OPERATIONS[request.pop("op")](**request)
    except Exception as error:  # whatever scapy raises is this request's failure only
        return {"error": f"{type(error).__name__}: {error}"}


def serve():
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


def self_test():
    outers = [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")]
    inners = [
        IP(src="10.1.0.1", dst="10.2.0.1") / ICMP() / Raw(b"four"),
        IPv6(src="fd01::1", dst="fd02::1") / ICMPv6EchoRequest() / Raw(b"six"),
    ]
    opened = 0
    combined = [c for c in CIPHERS if c.endswith(("gcm16", "ccm16", "gmac", "poly1305"))]
    macs = itertools.cycle(mac for mac in MACS if mac)
    separate = [f"{c}-{mac}" for c, mac in zip((c for c in CIPHERS if c not in combined), macs)]
    for suite in combined + separate:
        _, _, enc_len, auth_len = transforms(suite)
        for (src, dst), inner in ((o, i) for o in outers for i in inners):
            for esn, udp in ((e, u) for e in (False, True) for u in (None, [4500, 4500])):
                sa = {
                    "suite": suite,
                    "enc": os.urandom(enc_len).hex(),
                    "auth": os.urandom(auth_len).hex(),
                    "spi": 0x1000,
                    "esn": esn,
                    "src": src,
                    "dst": dst,
                    "udp": udp,
                }
                case = f"{suite} esn={esn} udp={udp} {src} {inner.summary()}"
                seq = 0x500000000 if esn else 7
                sealed = seal(sa, seq, bytes(inner).hex())["outer"]
                result = open_(sa, seq >> 32, sealed)
                assert result["inner"] == bytes(inner).hex(), case
                assert result["seq"] == seq, case
                spoilt = bytearray.fromhex(sealed)
                spoilt[-1] ^= 1
                request = {"op": "open", "sa": sa, "seq_high": seq >> 32, "outer": sealed}
                assert "error" in answer(dict(request, outer=spoilt.hex())), case
                assert not esn or "error" in answer(dict(request, seq_high=4)), case
                opened += 1
    print(f"{opened} packets sealed and opened")


if __name__ == "__main__":
    conf.use_pcap = False
    self_test() if "--self-test" in sys.argv else serve()
