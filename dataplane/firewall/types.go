package firewall

import "net/netip"

// TableName is the name of the one nftables table (family inet) that belongs to bordergw.
const TableName = "bordergw"

// Gateway is what the firewall needs to know of one BorderGateway.
type Gateway struct {
	Name    string
	Tunnels []Tunnel
	// AllowTransit lets packets pass from one VPN connection of this gateway to another.
	AllowTransit bool
}

// Tunnel is one tunnel's XFRM interface.
type Tunnel struct {
	// Interface is the device's name, at most 15 characters, in one gateway only.
	Interface string
	// Connection is the VPNConnection's name. Packets pass between tunnels of one connection.
	Connection string
	// MSS4 and MSS6 are the largest TCP segment sizes in bytes for IPv4 and IPv6; 0 leaves that family alone.
	MSS4, MSS6 uint16
	// Local and Remote are the outer addresses, ours and the customer's as it is seen here. When both are given and of one
	// family, encrypted packets between them are counted.
	Local, Remote netip.Addr
	// Watched has the packets counted that the host forwards from and to this tunnel.
	Watched bool
}
