// SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0-only
//
// Steers what arrives on a managed port: to the data plane's AF_XDP socket of that port and queue,
// to the kernel, or nowhere.
//
// It knows no policy. Its one promise is that nothing in transit reaches the kernel, which would
// forward it in clear: what is not for this host itself is redirected, and dropped where no data plane
// listens. `lib.rs` fills the maps; the numbers here and there are kept equal by a test.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MAX_PORTS 64
#define MAX_QUEUES 64
#define MAX_OWN 4096
#define MAX_REASONS 32 // room to grow without a change of the map

#define IKE_PORT 500
#define NAT_T_PORT 4500
#define DHCP_SERVER_PORT 67
#define DHCP_CLIENT_PORT 68
#define UDP_HEADER 8
#define NON_ESP_MARKER 4
#define MAX_EXTENSIONS 6
#define MAX_OPTIONS 40 // octets that an IPv4 header has room for

// From <linux/icmp.h> and <netinet/icmp6.h>, which do not compile for BPF.
#define ICMP_DEST_UNREACH 3
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ND_FIRST 133 // router solicitation
#define ND_LAST 137  // redirect
#define ICMPV6_LAST_ERROR 4 // parameter problem; errors begin at 1

enum side { INSIDE = 0, OUTSIDE = 1 };

// What became of a frame, and why. Indexes the counters of its port.
enum reason {
	PASS_NOT_IP,        // ARP, LLDP, and whatever else the data plane has no business with
	PASS_OWN,           // to an address of this host
	PASS_DHCP,          // a DHCP server's answer to a port that has no IPv4 address yet
	PASS_ND,            // neighbour discovery to an own address
	PASS_IKE,           // IKE to an own address that is otherwise protected
	PASS_MULTICAST,     // multicast and broadcast: routing protocols, DHCP, ND
	PASS_LINK_LOCAL,    // IPv6 link-local
	REDIRECT_TRANSIT,   // to somebody else
	REDIRECT_ESP,       // ESP to an own address, fragments included
	REDIRECT_AH,        // AH to an own address, fragments included
	REDIRECT_NAT_T,     // ESP in UDP, or a NAT keepalive, to an own address
	REDIRECT_UDP_FRAGMENT, // a fragment of UDP to an own address: perhaps of IKE, perhaps of ESP in UDP
	REDIRECT_ICMP,      // an ICMP error about something that this host has sealed
	REDIRECT_PROTECTED, // in clear to an own address that policy protects
	DROP_MALFORMED,     // lengths or versions that contradict each other
	DROP_NESTED_VLAN,   // more than one VLAN tag: what is inside cannot be told
	DROP_NO_SOCKET,     // would be redirected, and no data plane listens
	DROP_NOT_CONFIGURED, // the port is not in `ports`
	REASONS,
};

struct port {
	__u32 number; // less than MAX_PORTS; a port's place in `sockets` and `counters`
	__u32 side;
	__u32 mode; // how the program is attached; for the loader only
	__u32 unaddressed; // it has no IPv4 address: DHCP may be about to give it one
};

struct own {
	__u32 protected; // clear packets to it are a matter of policy
};

// By ifindex.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PORTS);
	__type(key, __u32);
	__type(value, struct port);
} ports SEC(".maps");

// By port number * MAX_QUEUES + queue. A socket's death empties its place.
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, MAX_PORTS * MAX_QUEUES);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

// Own addresses, in network byte order.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_OWN);
	__type(key, __u8[4]);
	__type(value, struct own);
} own4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_OWN);
	__type(key, __u8[16]);
	__type(value, struct own);
} own6 SEC(".maps");

// Frames, by port number * MAX_REASONS + reason.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_PORTS * MAX_REASONS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

// What is left of the frame.
struct cursor {
	void *at;
	void *end;
};

static __always_inline bool has(struct cursor *c, __u64 bytes)
{
	return c->at + bytes <= c->end;
}

// IKE and ESP share a UDP port: RFC 3948 §2.2 sets four zero bytes in front of IKE.
// `c` is at the UDP header of a packet that is not a fragment.
static __always_inline enum reason classify_udp(struct cursor *c, bool protected, enum side side)
{
	struct udphdr *udp = c->at;
	if (!has(c, sizeof(*udp)))
		return DROP_MALFORMED;
	enum reason clear = protected ? REDIRECT_PROTECTED : PASS_OWN;
	if (udp->dest == bpf_htons(IKE_PORT))
		return protected ? PASS_IKE : PASS_OWN;
	if (udp->dest != bpf_htons(NAT_T_PORT))
		return clear;

	// By the UDP length: short frames are padded with zeroes, which look like a marker.
	__u16 length = bpf_ntohs(udp->len);
	if (length >= UDP_HEADER + NON_ESP_MARKER) {
		if (!has(c, UDP_HEADER + NON_ESP_MARKER))
			return DROP_MALFORMED;
		__u8 *marker = c->at + UDP_HEADER;
		if (!(marker[0] | marker[1] | marker[2] | marker[3]))
			return protected ? PASS_IKE : PASS_OWN;
	}
	return side == OUTSIDE ? REDIRECT_NAT_T : clear;
}

// Whether an ICMP error is about something that this host has sealed. `c` is at the ICMP header; behind its 8
// octets the error quotes the packet.
static __always_inline bool is_about_sealed(struct cursor *c, bool v6)
{
	__u8 *icmp = c->at, *quoted = c->at + 8;
	if (!has(c, 8 + sizeof(struct ipv6hdr) + 4) && (v6 || !has(c, 8 + sizeof(struct iphdr) + 4)))
		return false;
	__u8 protocol;
	__u64 header;
	if (v6) {
		if (icmp[0] < 1 || icmp[0] > ICMPV6_LAST_ERROR)
			return false;
		protocol = quoted[6];
		header = sizeof(struct ipv6hdr);
	} else {
		if (icmp[0] != ICMP_DEST_UNREACH && icmp[0] != ICMP_TIME_EXCEEDED &&
		    icmp[0] != ICMP_PARAMETERPROB)
			return false;
		protocol = quoted[9];
		header = (quoted[0] & 0xf) * 4;
	}
	if (protocol != IPPROTO_UDP)
		return protocol == IPPROTO_ESP || protocol == IPPROTO_AH;
	__be16 *source = (void *)quoted + header;
	return (void *)(source + 1) <= c->end && *source == bpf_htons(NAT_T_PORT);
}

// What arrives for an own address. `c` is at the header after IP; a fragment has none for us to read.
static __always_inline enum reason classify_own(struct cursor *c, __u8 protocol, bool fragment,
						bool protected, enum side side)
{
	enum reason clear = protected ? REDIRECT_PROTECTED : PASS_OWN;
	switch (protocol) {
	case IPPROTO_ESP:
		return side == OUTSIDE ? REDIRECT_ESP : clear;
	case IPPROTO_AH:
		return side == OUTSIDE ? REDIRECT_AH : clear;
	case IPPROTO_UDP:
		// Only all fragments together can be told apart, and the data plane puts them together.
		if (fragment)
			return side == OUTSIDE ? REDIRECT_UDP_FRAGMENT : clear;
		return classify_udp(c, protected, side);
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (side == OUTSIDE && !fragment && is_about_sealed(c, protocol == IPPROTO_ICMPV6))
			return REDIRECT_ICMP;
		return clear;
	default:
		return clear;
	}
}

// Whether options name a router that is still to come: an own address is not where the packet ends then.
// `c` is at the IP header, of `header` bytes.
static __always_inline bool has_route_ahead(struct cursor *c, __u64 header)
{
	__u8 *options = c->at + sizeof(struct iphdr);
	__u32 next = 0;
	// By place, not by option: the verifier follows constant offsets through any mix of lengths.
#pragma unroll
	for (__u32 at = 0; at < MAX_OPTIONS - 2; at++) {
		if (sizeof(struct iphdr) + at + 3 > header || (void *)options + at + 3 > c->end)
			return false;
		if (at < next)
			continue;
		__u8 type = options[at], length = options[at + 1], pointer = options[at + 2];
		if (type == IPOPT_END)
			return false;
		if (type == IPOPT_LSRR || type == IPOPT_SSRR)
			return pointer <= length;
		if (type != IPOPT_NOOP && length < 2)
			return false;
		next = at + (type == IPOPT_NOOP ? 1 : length);
	}
	return false;
}

// A DHCP server's answer goes to the address that it gives, which is nobody's until it has arrived
// (RFC 2131 §4.1).
static __always_inline bool is_dhcp_answer(struct cursor *c, struct iphdr *ip, __u64 header)
{
	if (ip->protocol != IPPROTO_UDP || (ip->frag_off & bpf_htons(0x3fff)))
		return false;
	struct udphdr *udp = c->at + header;
	if ((void *)(udp + 1) > c->end)
		return false;
	return udp->source == bpf_htons(DHCP_SERVER_PORT) && udp->dest == bpf_htons(DHCP_CLIENT_PORT);
}

static __always_inline enum reason classify_ipv4(struct cursor *c, struct port *port)
{
	enum side side = port->side;
	struct iphdr *ip = c->at;
	if (!has(c, sizeof(*ip)))
		return DROP_MALFORMED;
	__u64 header = ip->ihl * 4;
	__u64 total = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header < sizeof(*ip) || total < header || !has(c, total))
		return DROP_MALFORMED;

	struct own *own = bpf_map_lookup_elem(&own4, &ip->daddr);
	if (own) {
		if (header > sizeof(*ip) && has_route_ahead(c, header))
			return REDIRECT_TRANSIT;
		bool fragment = ip->frag_off & bpf_htons(0x3fff); // more fragments, or an offset
		__u8 protocol = ip->protocol;
		c->at += header;
		return classify_own(c, protocol, fragment, own->protected, side);
	}
	// Link-local needs no rule of its own: ours is an own address, another's is nothing to the kernel.
	__u32 destination = bpf_ntohl(ip->daddr);
	if (destination >> 28 == 14 || destination == 0xffffffff)
		return PASS_MULTICAST;
	if (port->unaddressed && is_dhcp_answer(c, ip, header))
		return PASS_DHCP;
	return REDIRECT_TRANSIT;
}

static __always_inline enum reason classify_ipv6(struct cursor *c, enum side side)
{
	struct ipv6hdr *ip = c->at;
	if (!has(c, sizeof(*ip)))
		return DROP_MALFORMED;
	if (ip->version != 6 || !has(c, sizeof(*ip) + bpf_ntohs(ip->payload_len)))
		return DROP_MALFORMED;

	__u8 *destination = ip->daddr.s6_addr;
	if (destination[0] == 0xff)
		return PASS_MULTICAST;
	if (destination[0] == 0xfe && (destination[1] & 0xc0) == 0x80)
		return PASS_LINK_LOCAL;
	struct own *own = bpf_map_lookup_elem(&own6, destination);
	if (!own)
		return REDIRECT_TRANSIT;

	__u8 next = ip->nexthdr;
	bool fragment = false;
	c->at += sizeof(*ip);
#pragma unroll
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		__u8 *extension = c->at;
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
		    next != IPPROTO_FRAGMENT)
			break;
		if (!has(c, 8))
			return DROP_MALFORMED;
		// A route that goes on from here makes it transit.
		if (next == IPPROTO_ROUTING && extension[3] != 0)
			return REDIRECT_TRANSIT;
		if (next == IPPROTO_FRAGMENT) {
			__u16 offset_and_more = *(__u16 *)(extension + 2) & bpf_htons(0xfff9);
			fragment |= offset_and_more != 0;
			c->at += 8;
			next = extension[0];
			// A later fragment begins in the middle of what `next` says.
			if (offset_and_more & bpf_htons(0xfff8))
				break;
		} else {
			c->at += 8 + extension[1] * 8;
			next = extension[0];
		}
	}
	if (next == IPPROTO_ICMPV6 && !fragment && own->protected) {
		__u8 *type = c->at;
		if (!has(c, 1))
			return DROP_MALFORMED;
		if (*type >= ND_FIRST && *type <= ND_LAST)
			return PASS_ND;
	}
	return classify_own(c, next, fragment, own->protected, side);
}

static __always_inline enum reason classify(struct cursor *c, struct port *port)
{
	struct ethhdr *ethernet = c->at;
	if (!has(c, sizeof(*ethernet)))
		return DROP_MALFORMED;
	__be16 type = ethernet->h_proto;
	c->at += sizeof(*ethernet);

	if (type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD)) {
		__be16 *tag = c->at; // control information, then the type
		if (!has(c, 4))
			return DROP_MALFORMED;
		type = tag[1];
		c->at += 4;
		if (type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD))
			return DROP_NESTED_VLAN;
	}
	if (type == bpf_htons(ETH_P_IP))
		return classify_ipv4(c, port);
	if (type == bpf_htons(ETH_P_IPV6))
		return classify_ipv6(c, port->side);
	return PASS_NOT_IP;
}

static __always_inline void count(__u32 port, enum reason reason)
{
	__u32 index = port * MAX_REASONS + reason;
	__u64 *counter = bpf_map_lookup_elem(&counters, &index);
	if (counter)
		*counter += 1;
}

SEC("xdp")
int steer(struct xdp_md *ctx)
{
	__u32 ifindex = ctx->ingress_ifindex;
	struct port *port = bpf_map_lookup_elem(&ports, &ifindex);
	if (!port) {
		count(0, DROP_NOT_CONFIGURED);
		return XDP_DROP;
	}
	__u32 number = port->number;
	struct cursor c = { (void *)(long)ctx->data, (void *)(long)ctx->data_end };
	enum reason reason = classify(&c, port);

	int action = XDP_DROP;
	if (reason < REDIRECT_TRANSIT) {
		action = XDP_PASS;
	} else if (reason < DROP_MALFORMED) {
		__u32 queue = ctx->rx_queue_index;
		// A queue beyond a port's share would reach another port's socket.
		if (queue < MAX_QUEUES)
			action = bpf_redirect_map(&sockets, number * MAX_QUEUES + queue, XDP_DROP);
		if (action != XDP_REDIRECT)
			reason = DROP_NO_SOCKET;
	}
	count(number, reason);
	return action;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
