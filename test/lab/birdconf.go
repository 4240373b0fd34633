package lab

import (
	"cmp"
	"fmt"
	"strings"
)

// BIRDConf describes the usual BIRD: some eBGP or iBGP peers, some prefixes to announce, and everything learned goes to
// the kernel, with equal paths merged.
type BIRDConf struct {
	RouterID string
	ASN      uint32
	Peers    []BIRDPeer
	Announce []string // prefixes, IPv4 and IPv6
	VRF      string   // kernel routes and sessions belong to this VRF, with Table
	Table    uint32
}

// BIRDPeer is one neighbour. Learned routes of it are protocol Name.
type BIRDPeer struct {
	Name           string
	Local, Address string
	ASN            uint32
	Interface      string // for BFD and link-local addresses; optional
	Hold           int    // seconds; default 30
	Password       string
	BFD            bool
	// ExtendedNextHop takes IPv4 routes with an IPv6 next hop (RFC 8950).
	ExtendedNextHop bool
	Extra           string // more lines for the protocol
}

// String writes bird.conf.
func (c BIRDConf) String() string {
	var b strings.Builder
	vrf := ""
	if c.VRF != "" {
		vrf = fmt.Sprintf("\tvrf \"%s\";\n", c.VRF)
	}
	kernelTable := ""
	if c.Table != 0 {
		kernelTable = fmt.Sprintf("\tkernel table %d;\n", c.Table)
	}
	fmt.Fprintf(&b, "router id %s;\nprotocol device { scan time 1; }\nprotocol direct { disabled; ipv4; ipv6; }\n", c.RouterID)
	for _, family := range []string{"ipv4", "ipv6"} {
		fmt.Fprintf(&b, "protocol kernel kernel%s {\n%s%s\tmerge paths on;\n\t%s { import none; export where source = RTS_BGP; };\n}\n",
			strings.TrimPrefix(family, "ip"), vrf, kernelTable, family)
		fmt.Fprintf(&b, "protocol static announce%s {\n%s\t%s;\n", strings.TrimPrefix(family, "ip"), vrf, family)
		for _, prefix := range c.Announce {
			if strings.Contains(prefix, ":") == (family == "ipv6") {
				fmt.Fprintf(&b, "\troute %s blackhole;\n", prefix)
			}
		}
		b.WriteString("}\n")
	}
	for _, p := range c.Peers {
		if p.BFD {
			fmt.Fprintf(&b, "protocol bfd {\n%s\tinterface \"*\" { min rx interval 300 ms; min tx interval 300 ms; multiplier 3; };\n}\n", vrf)
			break
		}
	}
	for _, p := range c.Peers {
		b.WriteString(c.peer(p, vrf))
	}
	return b.String()
}

func (c BIRDConf) peer(p BIRDPeer, vrf string) string {
	var b strings.Builder
	hold := cmp.Or(p.Hold, 30)
	fmt.Fprintf(&b, "protocol bgp %s {\n%s\tlocal %s as %d;\n\tneighbor %s as %d;\n", p.Name, vrf, p.Local, c.ASN, p.Address, p.ASN)
	fmt.Fprintf(&b, "\thold time %d;\n\tkeepalive time %d;\n\tconnect delay time 1;\n\tconnect retry time 2;\n\terror wait time 1, 5;\n",
		hold, max(1, hold/3))
	if p.Interface != "" {
		fmt.Fprintf(&b, "\tinterface \"%s\";\n", p.Interface)
	}
	if p.Password != "" {
		fmt.Fprintf(&b, "\tpassword \"%s\";\n", p.Password)
	}
	if p.BFD {
		b.WriteString("\tbfd on;\n")
	}
	// What was learned from one neighbour goes to no other: an end of the network is no transit.
	for _, family := range []string{"ipv4", "ipv6"} {
		nextHop := "self"
		extended := ""
		if p.ExtendedNextHop && family == "ipv4" {
			extended = " extended next hop on;"
		}
		if family == "ipv6" && !strings.Contains(p.Local, ":") {
			// BIRD sends no IPv6 route over an IPv4 session unless it is told a next hop, and the IPv4-mapped address is none.
			nextHop = "address fd00::" + p.Local
		}
		fmt.Fprintf(&b, "\t%s { import all; export where source = RTS_STATIC; next hop %s;%s };\n", family, nextHop, extended)
	}
	fmt.Fprintf(&b, "\t%s\n}\n", p.Extra)
	return b.String()
}
