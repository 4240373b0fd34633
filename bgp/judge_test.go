package bgp

import (
	"net/netip"
	"testing"
)

func TestJudge(t *testing.T) {
	customer := neighbor("tunnel/a", "169.254.10.2")
	customer.Refuse = []Guard{
		{netip.MustParsePrefix("10.0.0.0/16"), RefusedOwn}, {netip.MustParsePrefix("192.0.2.4/30"), RefusedInside},
		{netip.MustParsePrefix("2001:db8:a::/64"), RefusedOwn},
	}
	customer.Protect = []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8:113::1")}
	fabric := neighbor("attachment/vpc", "10.0.255.1")
	fabric.Kind, fabric.Accept = Fabric, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}
	for _, tt := range []struct {
		n      Neighbor
		prefix string
		path   []uint32
		want   Refusal
	}{
		{customer, "172.16.0.0/24", []uint32{65010}, ""},
		{customer, "0.0.0.0/0", []uint32{65010}, ""},
		{customer, "::/0", []uint32{65010}, ""},
		{customer, "172.16.0.0/24", []uint32{65010, 65000}, RefusedLoop},
		{customer, "172.16.0.0/24", []uint32{65010, 0}, RefusedMalformed},
		{customer, "172.16.0.0/24", []uint32{0, 65000}, RefusedMalformed},
		{customer, "127.0.0.1/32", nil, RefusedMartian},
		{customer, "169.254.10.0/30", nil, RefusedMartian},
		{customer, "169.254.0.0/16", nil, RefusedMartian},
		{customer, "168.0.0.0/7", nil, ""},
		{customer, "224.0.0.0/4", nil, RefusedMartian},
		{customer, "255.255.255.255/32", nil, RefusedMartian},
		{customer, "0.1.0.0/16", nil, RefusedMartian},
		{customer, "::/128", nil, RefusedMartian},
		{customer, "::1/128", nil, RefusedMartian},
		{customer, "::ffff:10.0.0.0/104", nil, RefusedMartian},
		{customer, "fe80::/10", nil, RefusedMartian},
		{customer, "ff02::/16", nil, RefusedMartian},
		{customer, "10.0.0.0/16", nil, RefusedOwn},
		{customer, "10.0.7.0/24", nil, RefusedOwn},
		{customer, "10.0.0.0/8", nil, ""},
		{customer, "2001:db8:a::1/128", nil, RefusedOwn},
		{customer, "192.0.2.6/32", nil, RefusedInside},
		{customer, "203.0.113.1/32", nil, RefusedOuter},
		{customer, "203.0.113.0/24", nil, RefusedOuter},
		{customer, "128.0.0.0/1", nil, RefusedOuter},
		{customer, "203.0.113.2/32", nil, ""},
		{customer, "2001:db8:113::/48", nil, RefusedOuter},
		{fabric, "10.0.0.0/16", []uint32{64999}, ""},
		{fabric, "10.0.4.0/24", []uint32{64999}, ""},
		{fabric, "10.0.0.0/8", []uint32{64999}, RefusedUnlisted},
		{fabric, "0.0.0.0/0", []uint32{64999}, RefusedUnlisted},
		{fabric, "10.0.4.0/24", []uint32{65000}, RefusedLoop},
	} {
		if got := tt.n.Judge(65000, netip.MustParsePrefix(tt.prefix), tt.path); got != tt.want {
			t.Errorf("%s from %s with %v: %q, want %q", tt.prefix, tt.n.Name, tt.path, got, tt.want)
		}
	}
}
